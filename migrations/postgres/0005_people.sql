-- oldest-application: 0.2.0
-- 0.1.0 knows neither blocks nor states, and would show what they hide.

ALTER TABLE users
  ADD COLUMN state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'suspended', 'deleting')),
  ADD COLUMN state_changed_at timestamptz(3),
  ADD COLUMN email_confirmed_at timestamptz(3),
  -- Ready, always: it becomes the avatar when it has been processed.
  ADD COLUMN avatar_id uuid REFERENCES media (id) ON DELETE SET NULL,
  -- The latest upload, until it is the avatar; after a failure it stays, to tell why.
  ADD COLUMN avatar_upload_id uuid REFERENCES media (id) ON DELETE SET NULL;

-- Who has vanished is few, and every list asks for them.
CREATE INDEX users_vanished_idx ON users (id) WHERE state <> 'active';
CREATE INDEX users_avatar_idx ON users (avatar_id) WHERE avatar_id IS NOT NULL;
CREATE INDEX users_avatar_upload_idx ON users (avatar_upload_id) WHERE avatar_upload_id IS NOT NULL;

-- Who may see a medium depends on what it is for.
ALTER TABLE media ADD COLUMN purpose text NOT NULL DEFAULT 'post';
ALTER TABLE media ALTER COLUMN purpose DROP DEFAULT;

-- For the deletion of an account, and for Postgres' own look before the account's row may go.
CREATE INDEX media_owner_idx ON media (owner_id);
CREATE INDEX posts_author_idx ON posts (user_id, id);

-- Names that were given up, and are not free yet.
CREATE TABLE reserved_usernames (
  username   text PRIMARY KEY,
  -- Who gave it up and may take it back; null for a deleted account.
  holder_id  uuid REFERENCES users (id) ON DELETE SET NULL,
  free_at    timestamptz(3) NOT NULL
);

CREATE INDEX reserved_usernames_holder_idx ON reserved_usernames (holder_id);
CREATE INDEX reserved_usernames_free_idx ON reserved_usernames (free_at);

-- One-time links. Several may be good at a time: else whoever asks for another one would spoil that of the account's owner.
CREATE TABLE account_tokens (
  -- SHA-256, as with sessions.
  token_hash bytea PRIMARY KEY,
  user_id    uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  purpose    text NOT NULL CHECK (purpose IN ('password_reset', 'email_confirmation')),
  -- Which mailed it; null for one that an operator hands over.
  job_id     uuid,
  created_at timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  expires_at timestamptz(3) NOT NULL
);

CREATE INDEX account_tokens_user_idx ON account_tokens (user_id, purpose, created_at DESC);

CREATE TABLE invites (
  id         uuid PRIMARY KEY,
  code_hash  bytea NOT NULL,
  -- Whom the operator meant it for; whoever has the code may use it.
  email      text,
  created_at timestamptz(3) NOT NULL DEFAULT now(),
  expires_at timestamptz(3) NOT NULL,
  used_at    timestamptz(3),
  user_id    uuid REFERENCES users (id) ON DELETE SET NULL
);

CREATE UNIQUE INDEX invites_code_hash_key ON invites (code_hash);
CREATE INDEX invites_user_idx ON invites (user_id);

-- Whether both ends' counters count the row: not while one of the two is suspended or going. A job brings it into line.
ALTER TABLE follows ADD COLUMN counted boolean NOT NULL DEFAULT true;

CREATE TABLE follow_requests (
  follower_id  uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  following_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  created_at   timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (follower_id, following_id),
  CHECK (follower_id <> following_id)
);

CREATE INDEX follow_requests_waiting_idx ON follow_requests (following_id, created_at DESC, follower_id DESC);

CREATE TABLE blocks (
  blocker_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  blocked_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  created_at timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (blocker_id, blocked_id),
  CHECK (blocker_id <> blocked_id)
);

CREATE INDEX blocks_list_idx ON blocks (blocker_id, created_at DESC, blocked_id DESC);
-- Asked from both sides at every read.
CREATE INDEX blocks_blocked_idx ON blocks (blocked_id, blocker_id);

CREATE TABLE mutes (
  muter_id   uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  muted_id   uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  created_at timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (muter_id, muted_id),
  CHECK (muter_id <> muted_id)
);

CREATE INDEX mutes_list_idx ON mutes (muter_id, created_at DESC, muted_id DESC);
CREATE INDEX mutes_muted_idx ON mutes (muted_id);

-- Secrets that media tickets are signed with. The newest signs; the others are still believed for a while.
CREATE TABLE ticket_keys (
  id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  secret     bytea NOT NULL CHECK (octet_length(secret) = 32),
  created_at timestamptz(3) NOT NULL DEFAULT now(),
  -- From then on tickets of this key are refused; null for the newest.
  expires_at timestamptz(3)
);

-- 244 random bits of the server's own generator.
INSERT INTO ticket_keys (secret)
VALUES (decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'));

-- A person's takeout: one at a time, the latest.
CREATE TABLE exports (
  user_id     uuid PRIMARY KEY REFERENCES users (id),
  id          uuid NOT NULL UNIQUE,
  status      text NOT NULL CHECK (status IN ('processing', 'ready', 'failed')),
  -- In the URL: whoever has it may fetch the file.
  token       text NOT NULL,
  bytes       bigint,
  created_at  timestamptz(3) NOT NULL DEFAULT now(),
  finished_at timestamptz(3),
  expires_at  timestamptz(3),
  CHECK (status <> 'ready' OR (bytes IS NOT NULL AND expires_at IS NOT NULL))
);

CREATE INDEX exports_expired_idx ON exports (expires_at);
