-- oldest-application: 0.2.0

-- The original was given up when the renditions were there (media.originals = drop); its object goes by a job.
ALTER TABLE media ADD COLUMN original_dropped_at timestamptz(3);

-- What an account may keep, where that is another than the configuration's; bytes are null for as much as it likes.
CREATE TABLE media_quotas (
  user_id uuid PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
  bytes   bigint CHECK (bytes >= 0)
);

-- An account's media by age, and what they take, from the index alone: lists, usage, and each upload under a quota.
CREATE INDEX media_owner_ledger_idx ON media (owner_id, id) INCLUDE (state, bytes);
DROP INDEX media_owner_idx;

-- Few, and asked for among many.
CREATE INDEX media_failed_idx ON media (id) WHERE state = 'failed';
