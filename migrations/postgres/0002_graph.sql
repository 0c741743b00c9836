-- oldest-application: 0.1.0

CREATE TABLE follows (
  follower_id  uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  following_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  created_at   timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (follower_id, following_id),
  CHECK (follower_id <> following_id)
);

-- Both lists by keyset, latest first; the first also serves the cascade from users.
CREATE INDEX follows_followers_idx ON follows (following_id, created_at DESC, follower_id DESC);
CREATE INDEX follows_following_idx ON follows (follower_id, created_at DESC, following_id DESC);
