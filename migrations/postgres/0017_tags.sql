-- oldest-application: 0.2.0

-- Which published post has which hashtags in its caption. It can be made again from posts: `tintype tags rebuild`. It does
-- not refer to posts: it is written by events, and what they did not tell of is joined away.
CREATE TABLE post_tags (
  author_id    uuid NOT NULL,
  post_id      uuid NOT NULL,
  -- As plugins/entities writes it to be looked up. By code points, so that what begins alike lies together.
  tag          text COLLATE "C" NOT NULL,
  published_at timestamptz(3) NOT NULL,
  PRIMARY KEY (author_id, post_id, tag)
);

-- The posts of a tag, latest first, and whose they are: from the index alone.
CREATE INDEX post_tags_tag_idx ON post_tags (tag, published_at DESC, post_id DESC) INCLUDE (author_id);

-- How many posts have a tag, whoever may see them: the order in which a search looks at tags, told to nobody.
CREATE TABLE tags (
  tag  text COLLATE "C" PRIMARY KEY,
  uses integer NOT NULL
);

-- The most used ones of each beginning. One of four letters and more is looked for among those that share three.
CREATE INDEX tags_first_idx ON tags (left(tag, 1), uses DESC, tag);
CREATE INDEX tags_second_idx ON tags (left(tag, 2), uses DESC, tag);
CREATE INDEX tags_third_idx ON tags (left(tag, 3), uses DESC, tag);

-- What is to be added to them, by a job: who publishes must not wait for the row of a tag that everybody uses.
CREATE TABLE tag_log (
  id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tag   text COLLATE "C" NOT NULL,
  delta smallint NOT NULL CHECK (delta IN (1, -1))
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_insert_threshold = -1);
