-- oldest-application: 0.2.0

-- Originals that are being put into the store, or were, by an upload that came to no row: written before the first byte,
-- deleted by the transaction that writes the row. What is older than any upload is swept, and its object with it.
CREATE TABLE pending_originals (
  medium_id  uuid PRIMARY KEY,
  created_at timestamptz(3) NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX pending_originals_created_idx ON pending_originals (created_at);

-- Part of the object's key: '' for the first renditions of a medium, a name of its own for each time it is made again.
ALTER TABLE renditions ADD COLUMN version text NOT NULL DEFAULT '';
