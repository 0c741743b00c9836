-- oldest-application: 0.2.0

-- Requests that came with an Idempotency-Key: under way, or with the answer that is given again.
CREATE TABLE idempotency_keys (
  user_id     uuid NOT NULL REFERENCES users (id),
  -- SHA-256 of method, path and key: a path may be longer than an index takes, and nobody needs to read them.
  scope       bytea NOT NULL,
  -- Whose claim it is. Work commits only if it is still its own.
  token       uuid NOT NULL,
  -- Without an answer, the end of a lease that is renewed; with one, until when it is given again.
  held_until  timestamptz(3) NOT NULL,
  created_at  timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  status      smallint CHECK (status BETWEEN 200 AND 499),
  -- As JSON, to the byte; empty where the answer has none.
  body        text,
  -- Of what was sent.
  fingerprint bytea,
  PRIMARY KEY (user_id, scope),
  CHECK (num_nulls(status, body, fingerprint) IN (0, 3))
  -- Each row is updated once by its answer, in place.
) WITH (fillfactor = 70);

-- For the sweep. By a column that no update changes, so that those stay in place.
CREATE INDEX idempotency_keys_age_idx ON idempotency_keys (created_at);
