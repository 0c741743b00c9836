-- oldest-application: 0.2.0

-- While a backup runs, no object is removed that it may still have to read: one row, the backup that runs or ran last.
CREATE TABLE backup_leases (
  single     boolean PRIMARY KEY DEFAULT true CHECK (single),
  holder     uuid NOT NULL,
  -- Renewed every few seconds, so that a killed backup holds up nothing for long.
  expires_at timestamptz NOT NULL
);

-- The restore that has begun and is not finished: there is nothing else in the database then.
CREATE TABLE unfinished_restores (
  single     boolean PRIMARY KEY DEFAULT true CHECK (single),
  backup_id  uuid NOT NULL,
  started_at timestamptz NOT NULL DEFAULT now()
);
