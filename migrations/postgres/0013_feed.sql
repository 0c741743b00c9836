-- oldest-application: 0.2.0

-- Which content of Redis is still true. One row: what Redis holds of an earlier number is void.
CREATE TABLE redis_epoch (
  singleton      boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  -- Begins with the time, so that it is not one that a schema before this one had.
  number         bigint NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000)::bigint,
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
  -- Those that go on where another was killed bear its name.
  run_id     uuid NOT NULL,
  -- What Redis held then; if that is void by now, nothing of it is done.
  epoch      text NOT NULL,
  started_at timestamptz(3) NOT NULL DEFAULT now(),
  -- All accounts up to this one are done; null at the beginning.
  after_id   uuid,
  rebuilt    bigint NOT NULL DEFAULT 0
);
