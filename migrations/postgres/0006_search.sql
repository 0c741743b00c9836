-- oldest-application: 0.2.0

DO $$
BEGIN
  IF current_setting('server_encoding') <> 'UTF8' THEN
    RAISE EXCEPTION 'this database is encoded in %, and names are of all scripts; make another one: createdb -E UTF8 -T template0 NAME', current_setting('server_encoding');
  END IF;
END $$;

DO $$
BEGIN
  CREATE EXTENSION IF NOT EXISTS pg_trgm;
  CREATE EXTENSION IF NOT EXISTS unaccent;
EXCEPTION WHEN OTHERS THEN
  RAISE EXCEPTION 'the search for people needs the Postgres extensions pg_trgm and unaccent (%); let an administrator run in this database: CREATE EXTENSION pg_trgm; CREATE EXTENSION unaccent;', SQLERRM;
END $$;

-- The extensions may lie in any schema. Below, names are resolved once, here: a body after RETURN is kept as what it
-- refers to, so neither a session's search_path nor the empty one of a restored dump changes what it does.
SELECT set_config('search_path', concat_ws(', ', current_setting('search_path'), string_agg(DISTINCT quote_ident(nspname), ', ')), true)
FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace WHERE extname IN ('pg_trgm', 'unaccent');

-- Case and classes of letters are those of Unicode, whatever the database's locale: in C, lower() would leave every letter
-- but those of ASCII as it is, and in a Turkish one take I for another letter. What is typed goes through the same functions.
-- (pg_trgm goes by the database's locale: in C, names without ASCII letters are all equally like a query, and are ordered by id.)
DO $do$
DECLARE
  chosen text := (
    SELECT quote_ident(nspname) || '.' || quote_ident(collname)
    FROM pg_collation JOIN pg_namespace ON pg_namespace.oid = collnamespace
    WHERE nspname = 'pg_catalog' AND collname IN ('und-x-icu', 'pg_c_utf8')
    ORDER BY collname = 'und-x-icu' DESC LIMIT 1);
BEGIN
  IF chosen IS NULL THEN
    chosen := 'pg_catalog."default"';
    RAISE WARNING 'this Postgres has neither the collation und-x-icu nor pg_c_utf8; the search for people tells case by the locale of the database';
  END IF;

  -- Letters without case, accents and width: what is typed and what is found are folded alike. unaccent is declared STABLE,
  -- as its dictionary may be changed; whoever changes it has to REINDEX TABLE users. Variation selectors and marks without
  -- width go, and the sigma at a word's end is one as any other, since a prefix does not know where its word ends.
  EXECUTE replace($function$
    CREATE FUNCTION search_fold(value text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN translate(
      lower(unaccent('unaccent'::regdictionary, normalize(value, NFKC)) COLLATE chosen),
      U&'\03C2\200B\200C\200D\200E\200F\FE0E\FE0F', U&'\03C3')
  $function$, 'chosen', chosen);

  -- Folded words with one space between them. Symbols of ASCII and the dots within names of some scripts part words; an
  -- emoji is a word, or a part of one.
  EXECUTE replace($function$
    CREATE FUNCTION search_words(value text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN btrim(regexp_replace(search_fold(value) COLLATE chosen, U&'[[:space:]!-/:-@[-`{-~\00B7\2022\30FB]+', ' ', 'g'))
  $function$, 'chosen', chosen);
END $do$;

-- What is looked through of one account, each word after a space.
CREATE FUNCTION search_text(username text, display_name text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ' ' || search_words(username || ' ' || coalesce(display_name, ''));

-- The words from the nth on, or null: a prefix of them starts with a prefix of the nth.
CREATE FUNCTION search_tail(value text, nth integer) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN nullif(array_to_string((string_to_array(search_words(value), ' '))[nth:], ' '), '');

-- The first eight letters of each word, whole and without one of them: two words share a key if they differ by a letter
-- more, less or other, or by two swapped. Short words differ so from too many.
CREATE FUNCTION search_keys(words text) RETURNS text[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 1000
RETURN ARRAY(
  SELECT DISTINCT left(stem, cut - 1) || substr(stem, cut + 1)
  FROM (SELECT left(word, 8) AS stem FROM unnest(string_to_array(words, ' ')) AS word WHERE char_length(word) >= 3) AS stems,
    generate_series(CASE WHEN char_length(stem) > 3 THEN 1 ELSE 4 END, char_length(stem) + 1) AS cut);

-- How like `words` a text is, 0 to 1000: first how well they fit into it, then how little else is in it.
CREATE FUNCTION search_similarity(words text, searched text) RETURNS integer
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN round(700 * word_similarity(words, searched) + 300 * similarity(words, searched))::integer;

-- By prefix, in the order of bytes, whatever the database's collation. No index here has a column that a counter changes,
-- so updates of counters stay out of all of them.
CREATE INDEX users_search_username_idx ON users ((username COLLATE "C")) WHERE state = 'active';
CREATE INDEX users_search_word1_idx ON users ((search_tail(display_name, 1) COLLATE "C"), id) WHERE state = 'active' AND search_tail(display_name, 1) IS NOT NULL;
CREATE INDEX users_search_word2_idx ON users ((search_tail(display_name, 2) COLLATE "C"), id) WHERE state = 'active' AND search_tail(display_name, 2) IS NOT NULL;
CREATE INDEX users_search_word3_idx ON users ((search_tail(display_name, 3) COLLATE "C"), id) WHERE state = 'active' AND search_tail(display_name, 3) IS NOT NULL;
CREATE INDEX users_search_word4_idx ON users ((search_tail(display_name, 4) COLLATE "C"), id) WHERE state = 'active' AND search_tail(display_name, 4) IS NOT NULL;

-- By spelling. Without the list of pending entries, which every search would read: names change far less often.
CREATE INDEX users_search_keys_idx ON users USING gin (search_keys(search_text(username, display_name)))
WITH (fastupdate = off) WHERE state = 'active';

-- The newest accounts, however many that came after them have vanished.
CREATE INDEX users_newest_idx ON users (created_at DESC, id DESC) WHERE state = 'active';
