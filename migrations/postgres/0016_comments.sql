-- oldest-application: 0.2.0

-- It does not refer to posts: deleting one would delete its hundred thousand comments in the same transaction, or be
-- refused. Whoever writes a comment holds the post's row (KEY SHARE), so there is none of a post that is gone but those
-- that its deletion has seen, and these go by a job.
CREATE TABLE comments (
  id          uuid PRIMARY KEY,
  post_id     uuid NOT NULL,
  user_id     uuid NOT NULL REFERENCES users (id),
  -- Of a reply. A comment that is one has no replies itself.
  parent_id   uuid REFERENCES comments (id),
  text        text NOT NULL,
  -- What of the text is a hashtag or a mention, see plugins/entities.
  entities    jsonb NOT NULL DEFAULT '[]',
  reply_count integer NOT NULL DEFAULT 0 CHECK (reply_count >= 0),
  like_count  integer NOT NULL DEFAULT 0 CHECK (like_count >= 0),
  -- Milliseconds and no finer, so that a cursor holds the time exactly; the id decides between equals.
  created_at  timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  -- Deleted, with more replies or likes than one transaction removes: there for nobody and counted no more, as its replies.
  removed_at  timestamptz(3)
) WITH (fillfactor = 90);

-- The list of a post, latest first.
CREATE INDEX comments_post_idx ON comments (post_id, created_at DESC, id DESC) WHERE parent_id IS NULL;
-- The replies to a comment, oldest first.
CREATE INDEX comments_replies_idx ON comments (parent_id, created_at, id) WHERE parent_id IS NOT NULL;
-- What an account has written, to take along and to erase.
CREATE INDEX comments_user_idx ON comments (user_id, id);
CREATE INDEX comments_removed_idx ON comments (id) WHERE removed_at IS NOT NULL;

-- Likes on comments are counted on the row of the comment: no comment is liked as often as a post may be.
CREATE TABLE comment_likes (
  user_id    uuid NOT NULL REFERENCES users (id),
  -- They are removed before their comment, in batches; the reference takes the one that came in between.
  comment_id uuid NOT NULL REFERENCES comments (id) ON DELETE CASCADE,
  created_at timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (user_id, comment_id)
);

CREATE INDEX comment_likes_comment_idx ON comment_likes (comment_id);
