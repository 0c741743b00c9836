-- oldest-application: 0.1.0

CREATE TABLE media (
  id             uuid PRIMARY KEY,
  owner_id       uuid NOT NULL REFERENCES users (id),
  state          text NOT NULL CHECK (state IN ('processing', 'ready', 'failed', 'removed')),
  content_type   text NOT NULL,
  bytes          bigint NOT NULL,
  -- SHA-256 of the original.
  sha256         bytea NOT NULL,
  alt_text       text,
  -- Of the oriented original, in pixels; null until it is ready.
  width          integer,
  height         integer,
  thumbhash      text,
  animated       boolean NOT NULL DEFAULT false,
  attempts       integer NOT NULL DEFAULT 0,
  attempted_at   timestamptz(3),
  failure_code   text,
  failure_message text,
  created_at     timestamptz(3) NOT NULL DEFAULT now(),
  finished_at    timestamptz(3),
  CHECK (state = 'removed' OR (state = 'failed') = (failure_code IS NOT NULL)),
  CHECK (state <> 'ready' OR (width > 0 AND height > 0 AND thumbhash IS NOT NULL))
);

-- Work that is under way or must be cleaned up is little, whatever the table's size.
CREATE INDEX media_unfinished_idx ON media (state, attempted_at) WHERE state IN ('processing', 'removed');

CREATE TABLE renditions (
  medium_id uuid NOT NULL REFERENCES media (id) ON DELETE CASCADE,
  name      text NOT NULL,
  width     integer NOT NULL,
  height    integer NOT NULL,
  bytes     bigint NOT NULL,
  sha256    bytea NOT NULL,
  PRIMARY KEY (medium_id, name)
);
