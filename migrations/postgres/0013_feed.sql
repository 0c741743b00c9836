-- oldest-application: 0.2.0

-- Which content of Redis is still true. One row: what Redis holds of an earlier number is void.
CREATE TABLE redis_epoch (
  singleton      boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  number         bigint NOT NULL DEFAULT 1,
  -- The processes that hold the keys, as they were seen last.
  redis_identity text
);

INSERT INTO redis_epoch DEFAULT VALUES;

-- Authors with so many followers that their posts are pulled on read, and those that were such once.
CREATE TABLE pulled_authors (
  user_id      uuid PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
  pulled_since timestamptz(3) NOT NULL,
  -- The transaction since which they are pushed again; null while they are pulled.
  returned_xid xid8
);

-- How far `fanout rebuild` got; a row is one that has not come to its end.
CREATE TABLE timeline_rebuilds (
  singleton  boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  started_at timestamptz(3) NOT NULL DEFAULT now(),
  -- The last account that was rebuilt.
  after_id   uuid NOT NULL,
  rebuilt    bigint NOT NULL
);
