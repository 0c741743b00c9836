-- oldest-application: 0.2.0

-- The original was given up when the renditions were there (media.originals = drop); its object goes by a job.
ALTER TABLE media ADD COLUMN original_dropped_at timestamptz(3);

-- What an account may keep, where that is another than the configuration's; bytes are null for as much as it likes.
CREATE TABLE media_quotas (
  user_id uuid PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
  bytes   bigint CHECK (bytes >= 0)
);
