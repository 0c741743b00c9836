import type pg from "pg";
import { fillDatabase } from "./dataset.ts";

const ACCOUNTS = 200_000;
const STORIES = 20_000;
/** Of one story; the others are viewed by Zipf's law. Nobody sees a story twice, so there are some fewer. */
const VIEWS_OF_FIRST = 100_000;
const VIEWS = 1_100_000;
/** Pairs of a batch, the most of one. */
const BATCH = 500;

export interface StoryViews {
  views: number;
  viewsOfFirst: number;
  /** The story that most have seen, and its author. */
  first: string;
  author: string;
  /** Pairs by name: new ones of the first story, new ones of as many stories, and ones that are there. */
  hot: Pairs;
  spread: Pairs;
  repeats: Pairs;
}

export type Pairs = { story_id: string; viewer_id: string }[];

/** Fills an empty, migrated database. Takes about a minute. */
export async function loadStoryViews(pool: pg.Pool): Promise<StoryViews> {
  return fillDatabase(pool, { statements: STATEMENTS, tables: TABLES }, describe);
}

const TABLES = ["users", "stories", "media", "story_views", "follows", "blocks", "story_hides", "close_friends"];

const STATEMENTS = [
  `INSERT INTO users (id, username, email, password_hash, is_private)
   SELECT uuidv7(), 'user' || n, 'user' || n || '@example.org', 'none', n % 5 = 0 FROM generate_series(1, ${ACCOUNTS}) AS n`,
  "CREATE TEMP TABLE people AS SELECT row_number() OVER (ORDER BY random())::int AS n, id, is_private FROM users",
  "CREATE UNIQUE INDEX ON people (n)",
  `INSERT INTO stories (id, user_id, medium_id, audience, status, created_at, published_at, expires_at)
   SELECT uuidv7(at - now()), id, uuidv7(), 'everyone', 'published', at, at, at + interval '7 days'
   FROM (SELECT n, now() - interval '24 hours' * random() AS at FROM generate_series(1, ${STORIES}) AS n) AS posted
   JOIN people USING (n) ORDER BY at`,
  // The first author is a public one.
  `CREATE TEMP TABLE ranked AS SELECT row_number() OVER (ORDER BY is_private, random())::int AS rank, stories.id, user_id
   FROM stories JOIN users ON users.id = user_id`,
  "CREATE UNIQUE INDEX ON ranked (rank)",
  // In the order of time: one story's are spread over all of the table. The last 1,000 people have seen nothing.
  `INSERT INTO story_views (story_id, viewer_id, viewed_at)
   SELECT drawn.story, people.id, now() - interval '24 hours' * random() FROM (
     SELECT DISTINCT ON (person, story) person, story FROM (
       SELECT 1 + floor(random() * ${ACCOUNTS - 1_000})::int AS person, ranked.id AS story FROM (
         SELECT CASE WHEN n <= ${VIEWS_OF_FIRST} THEN 1 ELSE exp(random() * ln(${STORIES}))::int END AS rank
         FROM generate_series(1, ${VIEWS}) AS n OFFSET 0) AS draw JOIN ranked USING (rank)) AS pairs
   ) AS drawn JOIN people ON people.n = drawn.person ORDER BY random()`,
  "UPDATE stories SET view_count = (SELECT count(*) FROM story_views WHERE story_id = stories.id)",
  // The last 1,000 people follow the authors of the first 5,000 stories, some of them private.
  `INSERT INTO follows (follower_id, following_id)
   SELECT people.id, ranked.user_id FROM people JOIN ranked ON ranked.rank % 1000 = people.n % 1000
   WHERE people.n > ${ACCOUNTS - 1_000} AND ranked.rank <= 5000`,
  `INSERT INTO follows (follower_id, following_id)
   SELECT follower.id, followed.id FROM generate_series(1, 500000) AS draw
   JOIN people AS follower ON follower.n = 1 + (draw::bigint * 7919) % ${ACCOUNTS - 1_000}
   JOIN people AS followed ON followed.n = 1 + (draw::bigint * 104729) % ${STORIES}
   WHERE follower.id <> followed.id ON CONFLICT DO NOTHING`,
  // A tenth of all viewers of the first story block its author, or are blocked.
  `INSERT INTO blocks (blocker_id, blocked_id)
   SELECT CASE WHEN n % 20 = 0 THEN people.id ELSE ranked.user_id END, CASE WHEN n % 20 = 0 THEN ranked.user_id ELSE people.id END
   FROM people JOIN ranked ON rank = 1 WHERE n % 10 = 0 AND n < ${ACCOUNTS - 1_000} AND people.id <> ranked.user_id`,
  `INSERT INTO story_hides (owner_id, hidden_id)
   SELECT ranked.user_id, people.id FROM people JOIN ranked ON rank = n WHERE people.id <> ranked.user_id`,
  `INSERT INTO close_friends (owner_id, friend_id)
   SELECT ranked.user_id, people.id FROM people JOIN ranked ON rank = n + 7 WHERE people.id <> ranked.user_id`,
];

async function describe(client: pg.ClientBase): Promise<StoryViews> {
  const pairs = async (text: string): Promise<Pairs> => {
    const { rows } = await client.query<Pairs[number]>(text);
    if (rows.length !== BATCH) throw new Error(`${rows.length} pairs came of ${text}`);
    return rows;
  };
  const { rows } = await client.query<{ first: string; author: string; views: number; of_first: number }>(
    `SELECT id AS first, user_id AS author, (SELECT count(*)::int FROM story_views) AS views,
       (SELECT count(*)::int FROM story_views WHERE story_id = ranked.id) AS of_first FROM ranked WHERE rank = 1`,
  );
  const [found] = rows;
  if (!found) throw new Error("there are no stories");
  const fresh = `SELECT n, id FROM people WHERE n > ${ACCOUNTS - BATCH}`;
  return {
    views: found.views,
    viewsOfFirst: found.of_first,
    first: found.first,
    author: found.author,
    hot: await pairs(
      `SELECT ranked.id AS story_id, fresh.id AS viewer_id FROM ranked, (${fresh}) AS fresh WHERE rank = 1`,
    ),
    spread: await pairs(
      `SELECT ranked.id AS story_id, fresh.id AS viewer_id FROM ranked JOIN (${fresh}) AS fresh
       ON ranked.rank % 1000 = fresh.n % 1000 WHERE rank BETWEEN 1001 AND 2000`,
    ),
    repeats: await pairs(
      `SELECT story_id, viewer_id FROM story_views JOIN ranked ON ranked.id = story_id
       WHERE rank BETWEEN 2 AND 400 AND NOT EXISTS (SELECT FROM users WHERE users.id = user_id AND is_private) LIMIT ${BATCH}`,
    ),
  };
}
