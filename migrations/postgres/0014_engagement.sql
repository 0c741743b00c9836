-- oldest-application: 0.2.0

-- First, for servers that run meanwhile lock a post and then an account: whoever held the accounts, as references to them
-- do, and then asked for the posts would be in a deadlock with them.
ALTER TABLE posts
  ADD COLUMN comments_closed boolean NOT NULL DEFAULT false,
  -- What of the caption is a hashtag or a mention, see plugins/entities.
  ADD COLUMN caption_entities jsonb NOT NULL DEFAULT '[]';

-- Who likes which post. It does not refer to posts: a like would then lock the row of the post, and the likes of one that
-- everybody likes would stand in a queue. What is left of a deleted post goes by a job.
CREATE TABLE likes (
  user_id    uuid NOT NULL REFERENCES users (id),
  post_id    uuid NOT NULL,
  created_at timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (user_id, post_id)
);

-- Who likes a post by keyset, latest first.
CREATE INDEX likes_post_idx ON likes (post_id, created_at DESC, user_id DESC);

-- Each like and unlike, appended by the statement that makes it, until a job has rolled it up. One row a post that is
-- counted up would take 2,200 likes a second, the log takes 19,900.
CREATE TABLE like_log (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  post_id    uuid NOT NULL,
  author_id  uuid NOT NULL,
  user_id    uuid NOT NULL,
  delta      smallint NOT NULL CHECK (delta IN (1, -1)),
  created_at timestamptz(3) NOT NULL DEFAULT clock_timestamp()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_insert_threshold = -1);

CREATE INDEX like_log_post_idx ON like_log (post_id);
CREATE INDEX like_log_author_idx ON like_log (author_id);

-- What was rolled up; the likes of a post are this and what the log has of it. Not a column of posts, whose pages the
-- index-only scans of feeds need to be unchanged for long.
CREATE TABLE like_counts (
  post_id    uuid PRIMARY KEY,
  like_count integer NOT NULL
) WITH (fillfactor = 80);

-- Replies included.
CREATE TABLE comment_counts (
  post_id       uuid PRIMARY KEY,
  comment_count integer NOT NULL CHECK (comment_count >= 0)
) WITH (fillfactor = 80);

CREATE TABLE saves (
  user_id    uuid NOT NULL REFERENCES users (id),
  post_id    uuid NOT NULL,
  created_at timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (user_id, post_id)
);

CREATE INDEX saves_user_idx ON saves (user_id, created_at DESC, post_id DESC);
CREATE INDEX saves_post_idx ON saves (post_id);
