-- oldest-application: 0.2.0

-- Contents that were hard on a decoder, by the SHA-256 of the original, whoever uploaded them. A row goes when its content
-- is decoded after all, by an operator's word, or when it is old and not in quarantine.
CREATE TABLE decode_crashes (
  sha256      bytea PRIMARY KEY,
  -- Decoders that it crashed, stalled or swelled. 0: it was only slow.
  crashes     integer NOT NULL DEFAULT 0,
  -- Workers that vanished while they had it in hand.
  losses      integer NOT NULL DEFAULT 0,
  reason      text NOT NULL,
  last_at     timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  -- Who took two workers down must not get a third.
  quarantined boolean NOT NULL GENERATED ALWAYS AS (crashes + losses >= 3 OR losses >= 2) STORED
);

CREATE INDEX decode_crashes_last_idx ON decode_crashes (last_at) WHERE NOT quarantined;

-- The worker process that has begun to decode it; null when nobody has, and once it has been said how that ended.
ALTER TABLE media ADD COLUMN in_hand_of uuid;
