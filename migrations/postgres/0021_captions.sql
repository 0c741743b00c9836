-- oldest-application: 0.2.0

ALTER TABLE posts
  -- How often the caption was parsed into `caption_entities`. Not once where a server has written it that knows none: its
  -- hashtags and mentions are found by `tintype tags rebuild`.
  ADD COLUMN caption_parses integer NOT NULL DEFAULT 0,
  -- Whom earlier captions mentioned: nobody is told of one post twice by being taken out and put in again.
  ADD COLUMN caption_told uuid[] NOT NULL DEFAULT '{}';

-- A server that knows no entities changes the caption alone. Those of the text before would point anywhere in the new one.
CREATE FUNCTION forget_caption_entities() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.caption_entities := '[]';
  NEW.caption_parses := 0;
  RETURN NEW;
END
$$;

CREATE TRIGGER posts_caption BEFORE UPDATE OF caption ON posts FOR EACH ROW
  WHEN (NEW.caption IS DISTINCT FROM OLD.caption AND NEW.caption_parses = OLD.caption_parses)
  EXECUTE FUNCTION forget_caption_entities();

-- Those that are removed every minute.
CREATE INDEX tags_unused_idx ON tags (tag) WHERE uses = 0;
