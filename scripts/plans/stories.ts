import type pg from "pg";
import { fillDatabase } from "./dataset.ts";

const ACCOUNTS = 20_000;
/** Each of the viewers follows these many accounts, the first ones. */
export const FOLLOWS = 2_000;
/** Of the followed, those with 1 to 5 stories that are not over; and of the others. */
export const AUTHORS = 300;
const OTHER_AUTHORS = 15_000;
/** Stories that are over and were not cleaned up; 600,000 of them of the followed. */
export const OVER = 1_000_000;
export const VIEWS = 1_000_000;
/** Views of one viewer. */
export const MANY_VIEWS = 100_000;

export const TABLES = ["users", "follows", "stories", "story_views", "close_friends", "story_hides"];

/** Who follows the same accounts: `usual` has seen half of the stories that are not over, `devoted` 100,000 others too. */
export interface Viewers {
  usual: string;
  devoted: string;
}

/** Fills an empty, migrated database with stories that are not over, and half a million views of them. */
export async function loadStories(pool: pg.Pool): Promise<Viewers> {
  return fillDatabase(pool, { statements: STATEMENTS, tables: TABLES }, async (client) => {
    const { rows } = await client.query<{ username: keyof Viewers; id: string }>(
      "SELECT username, id FROM users WHERE username IN ('usual', 'devoted')",
    );
    const idOf = (name: keyof Viewers) => rows.find(({ username }) => username === name)?.id ?? "";
    return { usual: idOf("usual"), devoted: idOf("devoted") };
  });
}

/** Adds what is over, and the rest of the views. */
export async function loadOver(pool: pg.Pool): Promise<void> {
  await fillDatabase(pool, { statements: LATER, tables: TABLES }, async () => undefined);
}

/** Counts a view of each story that is not over: their pages are known to be visible to all no longer. */
export const COUNTED =
  "UPDATE stories SET view_count = view_count + 1 WHERE status = 'published' AND expires_at > now()";

const STATEMENTS = [
  `INSERT INTO users (id, username, email, password_hash, display_name)
   SELECT uuidv7(), 'user' || n, 'user' || n || '@example.org', 'none', 'User ' || n FROM generate_series(1, ${ACCOUNTS}) AS n`,
  "INSERT INTO users (id, username, email, password_hash) SELECT uuidv7(), name, name, 'none' FROM unnest('{usual,devoted}'::text[]) AS name",
  "CREATE UNLOGGED TABLE people AS SELECT row_number() OVER (ORDER BY random())::int AS n, id FROM users WHERE username LIKE 'user%'",
  "CREATE UNIQUE INDEX ON people (n)",
  "UPDATE users SET is_private = true FROM people WHERE people.id = users.id AND n % 4 = 0",
  `INSERT INTO follows (follower_id, following_id, created_at)
   SELECT users.id, people.id, now() - random() * interval '700 days' FROM users, people
   WHERE username IN ('usual', 'devoted') AND n <= ${FOLLOWS} ORDER BY random()`,
  `INSERT INTO follows (follower_id, following_id)
   SELECT one.id, two.id FROM people AS one, generate_series(1, 20) AS step, people AS two
   WHERE two.n = 1 + (one.n * 7919 + step * 4729) % ${ACCOUNTS} AND one.n <> two.n ON CONFLICT DO NOTHING`,
  // A fifth for close friends, and the viewers are that of every second author; every fiftieth hides from them.
  `INSERT INTO stories (id, user_id, medium_id, audience, status, created_at, published_at, expires_at)
   SELECT uuidv7(at - now()), id, uuidv7(), CASE WHEN random() < 0.2 THEN 'close_friends' ELSE 'everyone' END, 'published', at, at, at + interval '1 day'
   FROM (SELECT id, now() - random() * interval '23 hours' AS at FROM people, generate_series(1, 1 + n % 5)
     WHERE n <= ${AUTHORS} OR n BETWEEN ${FOLLOWS} AND ${FOLLOWS + OTHER_AUTHORS}) AS posted ORDER BY at`,
  `INSERT INTO close_friends (owner_id, friend_id) SELECT people.id, users.id FROM people, users
   WHERE n % 2 = 0 AND n <= ${FOLLOWS} AND username IN ('usual', 'devoted')`,
  `INSERT INTO story_hides (owner_id, hidden_id) SELECT people.id, users.id FROM people, users
   WHERE n % 50 = 0 AND n <= ${FOLLOWS} AND username IN ('usual', 'devoted')`,
  `INSERT INTO story_views (story_id, viewer_id) SELECT stories.id, users.id FROM stories, users
   WHERE username IN ('usual', 'devoted') AND get_byte(uuid_send(stories.id), 15) < 128`,
];

const LATER = [
  `INSERT INTO stories (id, user_id, medium_id, audience, status, created_at, published_at, expires_at)
   SELECT uuidv7(at - now()), id, uuidv7(), 'everyone', 'published', at, at, at + interval '1 day'
   FROM (SELECT id, now() - interval '25 hours' - random() * interval '20 days' AS at FROM (
       SELECT CASE WHEN n % 5 < 3 THEN 1 + n % ${FOLLOWS} ELSE 1 + floor(random() * ${ACCOUNTS})::int END AS n
       FROM generate_series(1, ${OVER}) AS n OFFSET 0) AS drawn JOIN people USING (n)) AS posted ORDER BY at`,
  `INSERT INTO story_views (story_id, viewer_id)
   SELECT id, (SELECT id FROM users WHERE username = 'devoted') FROM stories WHERE expires_at < now() LIMIT ${MANY_VIEWS}`,
  `INSERT INTO story_views (story_id, viewer_id)
   SELECT story, people.id FROM (
     SELECT id AS story, 1 + floor(random() * ${ACCOUNTS})::int AS n FROM stories TABLESAMPLE BERNOULLI (90)
     ORDER BY random() LIMIT ${VIEWS - MANY_VIEWS}) AS drawn JOIN people USING (n) ON CONFLICT DO NOTHING`,
];
