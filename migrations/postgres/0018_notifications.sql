-- oldest-application: 0.2.0

-- One row a person who has been told something, or has chosen what not to be told. Whoever changes that person's
-- notifications holds it, so they change one after the other.
CREATE TABLE notification_inboxes (
  user_id   uuid PRIMARY KEY REFERENCES users (id),
  -- Where the latest notification stands; the next one is put behind it, whatever the clock says.
  last_at   timestamptz(3) NOT NULL DEFAULT to_timestamp(0),
  -- What stands up to here is read.
  read_at   timestamptz(3) NOT NULL DEFAULT to_timestamp(0),
  types_off text[] NOT NULL DEFAULT '{}'
) WITH (fillfactor = 80);

-- What has happened to whom, appended in the transaction that made it true, until it is folded into the tables below. An
-- append waits for nobody and nobody for it: rows of inboxes are held by folds alone, each of which holds one.
CREATE TABLE notification_log (
  id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  -- Whose notifications it changes.
  user_id        uuid NOT NULL,
  op             text NOT NULL CHECK (op IN ('add', 'remove', 'remove_comment', 'recount')),
  type           text,
  subject        text,
  actor_id       uuid,
  post_id        uuid,
  -- Null where it is the recipient.
  post_author_id uuid,
  comment_id     uuid,
  at             timestamptz(3) NOT NULL DEFAULT clock_timestamp()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_insert_threshold = -1);

CREATE INDEX notification_log_user_idx ON notification_log (user_id, id);
-- Who has to be told that a post, a comment or a person is gone.
CREATE INDEX notification_log_post_idx ON notification_log (post_id) WHERE op = 'add' AND post_id IS NOT NULL;
CREATE INDEX notification_log_comment_idx ON notification_log (comment_id) WHERE op = 'add' AND comment_id IS NOT NULL;
CREATE INDEX notification_log_actor_idx ON notification_log (actor_id) WHERE op = 'add';

CREATE TABLE notifications (
  id             uuid PRIMARY KEY,
  user_id        uuid NOT NULL REFERENCES users (id),
  type           text NOT NULL CHECK (type IN
    ('follow', 'follow_request', 'follow_approved', 'like', 'comment', 'reply', 'mention', 'comment_like')),
  -- What it is about, by type: the id of a post or a comment, a day as YYYY-MM-DD, or nothing.
  subject        text NOT NULL,
  -- None of these refers to its table, for the reason told in 0014.
  post_id        uuid,
  post_author_id uuid,
  -- The comment that is liked or mentions; that of a group of comments follows from its actors.
  comment_id     uuid,
  -- Of the actors those that are counted.
  actor_count    integer NOT NULL DEFAULT 0 CHECK (actor_count >= 0),
  created_at     timestamptz(3) NOT NULL,
  -- The place in the list, that of the latest actor who is counted; no two of a person's are equal.
  updated_at     timestamptz(3) NOT NULL,
  UNIQUE (user_id, type, subject)
) WITH (fillfactor = 90);

-- The list by keyset; the count of unread ones is answered from it alone.
CREATE INDEX notifications_list_idx ON notifications (user_id, updated_at DESC, id DESC) INCLUDE (post_author_id)
  WHERE actor_count > 0;
CREATE INDEX notifications_post_idx ON notifications (post_id) WHERE post_id IS NOT NULL;
-- Those about a comment, found when it is deleted.
CREATE INDEX notifications_subject_idx ON notifications (subject) WHERE type IN ('reply', 'mention', 'comment_like');
CREATE INDEX notifications_created_idx ON notifications (created_at);

-- Who did what a notification tells, each once.
CREATE TABLE notification_actors (
  notification_id uuid NOT NULL REFERENCES notifications (id) ON DELETE CASCADE,
  actor_id        uuid NOT NULL REFERENCES users (id),
  -- When they did it last; see last_at.
  at              timestamptz(3) NOT NULL,
  -- Not while the account is suspended or being deleted.
  counted         boolean NOT NULL,
  PRIMARY KEY (notification_id, actor_id)
);

CREATE INDEX notification_actors_latest_idx ON notification_actors (notification_id, at DESC, actor_id DESC);
CREATE INDEX notification_actors_actor_idx ON notification_actors (actor_id);

-- By which comments they did it, where they may do it several times.
CREATE TABLE notification_comments (
  notification_id uuid NOT NULL REFERENCES notifications (id) ON DELETE CASCADE,
  comment_id      uuid NOT NULL,
  actor_id        uuid NOT NULL,
  at              timestamptz(3) NOT NULL,
  PRIMARY KEY (comment_id, notification_id)
);

CREATE INDEX notification_comments_actor_idx
  ON notification_comments (notification_id, actor_id, at DESC, comment_id DESC);
