-- oldest-application: 0.2.0

-- Into which saved posts are sorted. What is taken out of one, or was in one that is deleted, stays saved.
CREATE TABLE collections (
  id         uuid PRIMARY KEY,
  user_id    uuid NOT NULL REFERENCES users (id),
  name       text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 60),
  -- The name as it is compared, folded by the application: `lower` depends on the locale of the database.
  folded     text NOT NULL,
  created_at timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  UNIQUE (user_id, folded)
);

CREATE INDEX collections_user_idx ON collections (user_id, created_at DESC, id DESC);

CREATE TABLE collection_posts (
  collection_id uuid NOT NULL REFERENCES collections (id) ON DELETE CASCADE,
  user_id       uuid NOT NULL,
  post_id       uuid NOT NULL,
  created_at    timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (collection_id, post_id),
  FOREIGN KEY (user_id, post_id) REFERENCES saves (user_id, post_id) ON DELETE CASCADE
);

CREATE INDEX collection_posts_page_idx ON collection_posts (collection_id, created_at DESC, post_id DESC);
CREATE INDEX collection_posts_save_idx ON collection_posts (user_id, post_id);
