-- oldest-application: 0.2.0

CREATE TABLE stories (
  id              uuid PRIMARY KEY,
  user_id         uuid NOT NULL REFERENCES users (id),
  -- Null once it is removed: the medium goes by a job of its own.
  medium_id       uuid UNIQUE REFERENCES media (id),
  -- Of those who may see what the author shares: all, or those on the author's list of close friends.
  audience        text NOT NULL CHECK (audience IN ('everyone', 'close_friends')),
  -- Seconds for which its author wants a client to show it; null leaves that to clients.
  duration        smallint CHECK (duration > 0),
  -- Removed: there for nobody, until a job has removed its views and the row.
  status          text NOT NULL CHECK (status IN ('processing', 'published', 'failed', 'removed')),
  failure_code    text,
  failure_message text,
  failed_at       timestamptz(3),
  -- Its rows in story_views.
  view_count      integer NOT NULL DEFAULT 0 CHECK (view_count >= 0),
  created_at      timestamptz(3) NOT NULL DEFAULT now(),
  -- Both by the clock of this database, the only one that decides whether a story is over.
  published_at    timestamptz(3),
  expires_at      timestamptz(3),
  -- Its author keeps it, with who has seen it, when it is over. Decided when it is published.
  kept            boolean NOT NULL DEFAULT false,
  -- It was put into a highlight once: it is kept, whatever its author wants of stories later.
  highlighted     boolean NOT NULL DEFAULT false,
  CHECK ((published_at IS NULL) = (expires_at IS NULL)),
  CHECK (status <> 'published' OR published_at IS NOT NULL),
  CHECK ((status = 'removed') = (medium_id IS NULL)),
  CHECK (status = 'removed' OR (status = 'failed') = (failure_code IS NOT NULL)),
  CHECK ((failure_code IS NULL) = (failed_at IS NULL)),
  CHECK (kept OR NOT highlighted)
)
-- Views are counted in it, many times an hour: room for that in its page.
WITH (fillfactor = 80);

-- All of an author's, for when they are taken along, or go with the author.
CREATE INDEX stories_user_idx ON stories (user_id, id);
-- An author's stories that are not over, answered from the index alone; each author of a tray is one descent.
CREATE INDEX stories_active_idx ON stories (user_id, expires_at, published_at, id, audience) WHERE status = 'published';
-- The archive, by keyset.
CREATE INDEX stories_kept_idx ON stories (user_id, published_at DESC, id DESC) WHERE kept AND status = 'published';
-- What there is, or will be, to clean up.
CREATE INDEX stories_expiring_idx ON stories (expires_at, id) WHERE status = 'published' AND NOT kept;
CREATE INDEX stories_failed_idx ON stories (failed_at, id) WHERE status = 'failed';
CREATE INDEX stories_unpublished_idx ON stories (created_at, id) WHERE status <> 'published';

-- Who has seen a story. It does not refer to the story, which a batch of views holds anyway while it is written.
CREATE TABLE story_views (
  story_id   uuid NOT NULL,
  viewer_id  uuid NOT NULL REFERENCES users (id),
  viewed_at  timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  -- One emoji.
  reaction   text,
  PRIMARY KEY (story_id, viewer_id)
);

-- The list of viewers by keyset; and what an account has seen, for when it goes.
CREATE INDEX story_views_latest_idx ON story_views (story_id, viewed_at DESC, viewer_id DESC);
CREATE INDEX story_views_viewer_idx ON story_views (viewer_id, story_id);

-- Who sees the stories that are for close friends only; they are not told.
CREATE TABLE close_friends (
  owner_id   uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  friend_id  uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  created_at timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (owner_id, friend_id),
  CHECK (owner_id <> friend_id)
);

CREATE INDEX close_friends_list_idx ON close_friends (owner_id, created_at DESC, friend_id DESC);
CREATE INDEX close_friends_friend_idx ON close_friends (friend_id, owner_id);

-- From whom an account hides its stories; they are not told.
CREATE TABLE story_hides (
  owner_id   uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  hidden_id  uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  created_at timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (owner_id, hidden_id),
  CHECK (owner_id <> hidden_id)
);

CREATE INDEX story_hides_list_idx ON story_hides (owner_id, created_at DESC, hidden_id DESC);
CREATE INDEX story_hides_hidden_idx ON story_hides (hidden_id, owner_id);

-- Whose new stories are kept when they are over; who is not here keeps none.
CREATE TABLE story_settings (
  user_id      uuid PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
  keep_archive boolean NOT NULL
);

-- Stories that an author shows for longer, under a title.
CREATE TABLE highlights (
  id         uuid PRIMARY KEY,
  user_id    uuid NOT NULL REFERENCES users (id),
  title      text NOT NULL,
  created_at timestamptz(3) NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX highlights_user_idx ON highlights (user_id, created_at DESC, id DESC);

CREATE TABLE highlight_stories (
  highlight_id uuid NOT NULL REFERENCES highlights (id) ON DELETE CASCADE,
  story_id     uuid NOT NULL REFERENCES stories (id) ON DELETE CASCADE,
  added_at     timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (highlight_id, story_id)
);

-- Whether a story is in a highlight, and so is kept and may be seen though it is over.
CREATE INDEX highlight_stories_story_idx ON highlight_stories (story_id);
