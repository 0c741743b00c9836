-- oldest-application: 0.1.0

CREATE TABLE posts (
  id              uuid PRIMARY KEY,
  user_id         uuid NOT NULL REFERENCES users (id),
  caption         text,
  status          text NOT NULL CHECK (status IN ('processing', 'published', 'failed')),
  failure_code    text,
  failure_message text,
  created_at      timestamptz(3) NOT NULL DEFAULT now(),
  -- Milliseconds and no finer, so that a cursor holds the time exactly; the id decides between equals.
  published_at    timestamptz(3),
  CHECK ((status = 'published') = (published_at IS NOT NULL)),
  CHECK ((status = 'failed') = (failure_code IS NOT NULL))
);

-- The author's grid and each LATERAL of the feed, both answered from the index alone.
CREATE INDEX posts_timeline_idx ON posts (user_id, published_at DESC, id DESC) WHERE status = 'published';

CREATE TABLE post_media (
  post_id   uuid NOT NULL REFERENCES posts (id) ON DELETE CASCADE,
  position  smallint NOT NULL CHECK (position BETWEEN 0 AND 9),
  medium_id uuid NOT NULL REFERENCES media (id),
  PRIMARY KEY (post_id, position)
);

CREATE UNIQUE INDEX post_media_medium_key ON post_media (medium_id);
