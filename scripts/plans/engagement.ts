import type pg from "pg";
import { fillDatabase } from "./dataset.ts";

const ACCOUNTS = 100_000;
const POSTS = 100_000;
/** By Zipf's law; nobody likes a post twice, so there are some fewer. */
const LIKES = 1_100_000;
const LIKES_OF_FIRST = 80_000;
/** Rows of the log that are not rolled up, half of them of the first post. */
export const LOGGED = 10_000;
/** Rows that were in the log since the last VACUUM. */
export const ROLLED_UP = 100_000;
const SAVES = 10_000;

export interface Engagement {
  likes: number;
  likesOfFirst: number;
  /** The post with the most likes, and one with few. */
  first: string;
  few: string;
  author: string;
  /** Likes neither of the two posts. */
  viewer: string;
  /** Likes both. */
  fan: string;
  /** Has saved 10,000 posts, all of them in one collection. */
  saver: string;
  collection: string;
  posts: string[];
}

/** Fills an empty, migrated database. Takes about a minute. */
export async function loadEngagement(pool: pg.Pool): Promise<Engagement> {
  return fillDatabase(pool, { statements: STATEMENTS, tables: TABLES }, describe);
}

const TABLES = ["users", "posts", "likes", "like_log", "like_counts", "saves", "collections", "collection_posts"];

const STATEMENTS = [
  `INSERT INTO users (id, username, email, password_hash)
   SELECT uuidv7(), 'user' || n, 'user' || n || '@example.org', 'none' FROM generate_series(1, ${ACCOUNTS}) AS n`,
  "CREATE TEMP TABLE people AS SELECT row_number() OVER (ORDER BY random())::int AS n, id FROM users",
  "CREATE UNIQUE INDEX ON people (n)",
  `INSERT INTO posts (id, user_id, status, created_at, published_at)
   SELECT uuidv7(at - now()), id, 'published', at, at
   FROM (SELECT n, now() - interval '300 days' * random() AS at FROM generate_series(1, ${POSTS}) AS n) AS posted
   JOIN people USING (n) ORDER BY at`,
  "CREATE TEMP TABLE ranked AS SELECT row_number() OVER (ORDER BY random())::int AS rank, id, user_id FROM posts",
  "CREATE UNIQUE INDEX ON ranked (rank)",
  // In the order of time, as people like: one post's are spread over all of the table.
  `INSERT INTO likes (user_id, post_id, created_at)
   SELECT people.id, drawn.post, now() - interval '300 days' * random() FROM (
     SELECT DISTINCT ON (person, post) person, post FROM (
       SELECT 1 + floor(random() * ${ACCOUNTS - 10})::int AS person, ranked.id AS post FROM (
         SELECT CASE WHEN n <= ${LIKES_OF_FIRST} THEN 1 ELSE exp(random() * ln(${POSTS}))::int END AS rank
         FROM generate_series(1, ${LIKES}) AS n OFFSET 0) AS draw JOIN ranked USING (rank)) AS pairs
   ) AS drawn JOIN people ON people.n = drawn.person ORDER BY random()`,
  `INSERT INTO like_log (post_id, author_id, user_id, delta)
   SELECT ranked.id, ranked.user_id, people.id, 1 FROM (
     SELECT n, CASE WHEN n % 2 = 0 THEN 1 ELSE 2 + n % 5000 END AS rank FROM generate_series(1, ${LOGGED}) AS n) AS logged
   JOIN ranked USING (rank) JOIN people USING (n)`,
  `INSERT INTO like_counts (post_id, like_count)
   SELECT post_id, count(*) - (SELECT count(*) FROM like_log WHERE like_log.post_id = likes.post_id) FROM likes GROUP BY post_id`,
  `INSERT INTO likes (user_id, post_id)
   SELECT (SELECT id FROM people WHERE n = ${ACCOUNTS}), id FROM ranked WHERE rank IN (1, 50000) ON CONFLICT DO NOTHING`,
  `INSERT INTO saves (user_id, post_id, created_at)
   SELECT (SELECT id FROM people WHERE n = ${ACCOUNTS - 1}), id, now() - interval '300 days' * random()
   FROM ranked WHERE rank <= ${SAVES}`,
  `INSERT INTO collections (id, user_id, name, folded)
   SELECT uuidv7(), (SELECT id FROM people WHERE n = ${ACCOUNTS - 1}), 'Number ' || n, 'number ' || n
   FROM generate_series(1, 200) AS n`,
  `INSERT INTO collection_posts (collection_id, user_id, post_id, created_at)
   SELECT (SELECT id FROM collections WHERE folded = 'number 1'), user_id, post_id, created_at FROM saves`,
];

async function describe(client: pg.ClientBase): Promise<Engagement> {
  const one = async <Row extends pg.QueryResultRow>(text: string): Promise<Row> => {
    const row = (await client.query<Row>(text)).rows[0];
    if (!row) throw new Error(`nothing came of ${text}`);
    return row;
  };
  const post = async (rank: number) =>
    one<{ id: string; user_id: string }>(`SELECT id, user_id FROM ranked WHERE rank = ${rank}`);
  const person = async (n: number) => (await one<{ id: string }>(`SELECT id FROM people WHERE n = ${n}`)).id;
  const [first, few] = [await post(1), await post(50_000)];
  const counts = await one<{ likes: number; first: number }>(
    `SELECT count(*)::int AS likes, count(*) FILTER (WHERE post_id = '${first.id}')::int AS first FROM likes`,
  );
  const { rows } = await client.query<{ id: string }>("SELECT id FROM ranked WHERE rank <= 200");
  return {
    likes: counts.likes,
    likesOfFirst: counts.first,
    first: first.id,
    few: few.id,
    author: first.user_id,
    viewer: await person(ACCOUNTS - 2),
    fan: await person(ACCOUNTS),
    saver: await person(ACCOUNTS - 1),
    collection: (await one<{ id: string }>("SELECT id FROM collections WHERE folded = 'number 1'")).id,
    posts: rows.map(({ id }) => id),
  };
}
