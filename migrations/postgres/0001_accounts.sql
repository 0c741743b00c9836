-- oldest-application: 0.1.0

CREATE TABLE users (
  id              uuid PRIMARY KEY,
  username        text NOT NULL CHECK (username ~ '^[a-z0-9._]{3,30}$'),
  email           text NOT NULL,
  password_hash   text NOT NULL,
  display_name    text,
  bio             text,
  is_private      boolean NOT NULL DEFAULT false,
  post_count      integer NOT NULL DEFAULT 0 CHECK (post_count >= 0),
  follower_count  integer NOT NULL DEFAULT 0 CHECK (follower_count >= 0),
  following_count integer NOT NULL DEFAULT 0 CHECK (following_count >= 0),
  created_at      timestamptz(3) NOT NULL DEFAULT now()
  -- Counters change often and are not indexed: free space in the page keeps those updates out of the indexes.
) WITH (fillfactor = 80);

CREATE UNIQUE INDEX users_username_key ON users (username);
CREATE UNIQUE INDEX users_email_key ON users (lower(email));
CREATE INDEX users_created_idx ON users (created_at DESC, id DESC);

CREATE TABLE sessions (
  id           uuid PRIMARY KEY,
  user_id      uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  -- SHA-256 of the token: who reads this table can sign in as nobody.
  token_hash   bytea NOT NULL,
  address      text NOT NULL,
  user_agent   text,
  created_at   timestamptz(3) NOT NULL DEFAULT now(),
  last_used_at timestamptz(3) NOT NULL DEFAULT now()
) WITH (fillfactor = 80);

CREATE UNIQUE INDEX sessions_token_hash_key ON sessions (token_hash);
CREATE INDEX sessions_user_idx ON sessions (user_id);
