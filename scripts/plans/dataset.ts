import type pg from "pg";

/** What the set is made of. The shares of posts and of followers are Zipf's: an account of rank k has 1/k of the first's. */
const ACCOUNTS = 200_000;
const POSTS = 1_000_000;
const FOLLOWERS_OF_FIRST = 60_000;
/** Of each of these many first ones more than 10,000, the default of `feed.fanout_threshold`. */
const PULLED = 5;
const SESSIONS = 100_000;

/** Who follows 2,000 accounts each, by those accounts' ranks. */
export const VIEWERS = {
  busy: { description: "ranks 1 to 2,000, the busiest there are", first: 1, step: 1 },
  average: { description: "ranks 2,001 to 4,000", first: 2_001, step: 1 },
  rare: { description: "every 80th from rank 40,000 on", first: 40_000, step: 80 },
  nobody: { description: "no one", first: ACCOUNTS + 1, step: 1 },
} as const;

export type ViewerName = keyof typeof VIEWERS;

export interface Dataset {
  viewers: Record<ViewerName, Viewer>;
  /** Of the account with the most posts and followers. */
  firstAccountId: string;
}

export interface Viewer {
  id: string;
  /** Of a live session. */
  token: string;
  follows: number;
  /** Of one followed account: fewest, mean, most. */
  postsOfEach: { least: number; mean: number; most: number };
}

/**
 * Fills an empty, migrated database. Posts lie in the table in the order of time, as they do where people make them,
 * so that one author's are spread over all of it. Takes about a minute.
 */
export async function loadDataset(pool: pg.Pool): Promise<Dataset> {
  return fillDatabase(pool, { statements: STATEMENTS, tables: TABLES }, describeDataset);
}

/** Fills an empty, migrated database. @param describe is given the connection while it has its temporary tables. */
export async function fillDatabase<T>(
  pool: pg.Pool,
  { statements, tables }: { statements: readonly string[]; tables: readonly string[] },
  describe: (client: pg.PoolClient) => Promise<T>,
): Promise<T> {
  const client = await pool.connect();
  try {
    for (const setting of SETTINGS) await client.query(setting);
    for (const statement of statements) await client.query(statement);
    for (const table of tables) await client.query(`VACUUM (ANALYZE) ${table}`);
    return await describe(client);
  } finally {
    // With its settings and its temporary tables.
    client.release(true);
  }
}

/** For loading quickly, and the same each time. */
export const SETTINGS = [
  "SET work_mem = '256MB'",
  // References are right by construction; checking three million of them takes longer than all the rest.
  "SET session_replication_role = replica",
  // A commit that is not on disk cannot be hinted on its rows, and VACUUM would leave them out of the visibility map.
  "SET synchronous_commit = on",
  // It would mend, at a time of its own, the maps that are measured.
  "ALTER SYSTEM SET autovacuum = off",
  "SELECT pg_reload_conf()",
  "SELECT setseed(0.5)",
];

const TABLES = ["users", "sessions", "follows", "posts", "media", "post_media", "pulled_authors"];

const STATEMENTS = [
  `INSERT INTO users (id, username, email, password_hash, display_name)
   SELECT uuidv7(), 'user' || n, 'user' || n || '@example.org', 'none', 'User ' || n FROM generate_series(1, ${ACCOUNTS}) AS n`,
  // How old an account is says nothing about how busy it is.
  "CREATE TEMP TABLE ranked AS SELECT row_number() OVER (ORDER BY random())::int AS rank, id FROM users",
  "CREATE UNIQUE INDEX ON ranked (rank)",
  `INSERT INTO posts (id, user_id, caption, status, created_at, published_at)
   WITH shares AS (
     SELECT rank, id, round(${POSTS} * sum(1.0::float8 / rank) OVER (ORDER BY rank) / sum(1.0::float8 / rank) OVER ())::int AS up_to
     FROM ranked
   ), counts AS (
     SELECT rank, id, up_to - lag(up_to, 1, 0) OVER (ORDER BY rank) AS posts FROM shares
   ), times AS MATERIALIZED (
     -- Two years of posts; those of the rarest accounts are from the first half year.
     SELECT id, now() - interval '730 days' + random() * interval '1 day' * CASE WHEN rank < 40000 THEN 730 ELSE 180 END AS at
     FROM counts, generate_series(1, posts)
   )
   SELECT uuidv7(at - now()), id, repeat('A caption of usual length. ', 3), 'published', at - interval '5 seconds', at
   FROM times ORDER BY at`,
  // Media take their posts' ids: nothing in the plans depends on it.
  `INSERT INTO media (id, owner_id, purpose, state, content_type, bytes, sha256, width, height, thumbhash, created_at, finished_at)
   SELECT id, user_id, 'post', 'ready', 'image/jpeg', 2000000, sha256(id::text::bytea), 2725, 2225, 'XxcODQI0d3iAh3hweId3aHh4eAAAAAAA', created_at, published_at
   FROM posts ORDER BY id`,
  "INSERT INTO post_media (post_id, position, medium_id) SELECT id, 0, id FROM posts ORDER BY id",
  `INSERT INTO users (id, username, email, password_hash)
   SELECT uuidv7(), name, name || '@example.org', 'none' FROM unnest('{${Object.keys(VIEWERS)}}'::text[]) AS name`,
  // Each follow at a time of its own, so that one viewer's are spread over the table. A prime step that does not divide
  // the number of accounts meets each of them once.
  `INSERT INTO follows (follower_id, following_id, created_at)
   SELECT follower_id, following_id, now() - random() * interval '730 days' AS at FROM (
     SELECT follower.id AS follower_id, followed.id AS following_id
     FROM ranked AS followed, generate_series(1, ${FOLLOWERS_OF_FIRST} / followed.rank) AS n, ranked AS follower
     WHERE follower.rank = 1 + (followed.rank::bigint * 7919 + n::bigint * 104729) % ${ACCOUNTS} AND follower.rank <> followed.rank
     ${Object.entries(VIEWERS)
       .map(
         ([name, { first, step }]) => `UNION ALL SELECT users.id, ranked.id FROM users, ranked
           WHERE username = '${name}' AND rank BETWEEN ${first} AND ${first + 1_999 * step} AND (rank - ${first}) % ${step} = 0`,
       )
       .join(" ")}
   ) AS pairs ORDER BY at`,
  `UPDATE users SET follower_count = (SELECT count(*) FROM follows WHERE following_id = users.id)
   WHERE id IN (SELECT id FROM ranked WHERE rank <= ${PULLED})`,
  `INSERT INTO pulled_authors (user_id, pulled_since) SELECT id, now() - interval '730 days' FROM ranked WHERE rank <= ${PULLED}`,
  `INSERT INTO sessions (id, user_id, token_hash, address)
   SELECT uuidv7(), id, sha256(('tt_' || username)::bytea), '192.0.2.1' FROM users
   WHERE username = ANY('{${Object.keys(VIEWERS)}}') OR id IN (SELECT id FROM ranked WHERE rank <= ${SESSIONS})`,
];

const tokenOf = (name: string) => `tt_${name}`;

async function describeDataset(client: pg.ClientBase): Promise<Dataset> {
  const { rows } = await client.query<{ name: ViewerName } & Omit<Viewer, "token">>(
    `WITH posted AS MATERIALIZED (SELECT user_id, count(*)::int AS posts FROM posts GROUP BY 1)
     SELECT username AS name, id, count(following_id)::int AS follows, json_build_object(
       'least', coalesce(min(coalesce(posts, 0)), 0), 'mean', coalesce(round(avg(coalesce(posts, 0)) , 1), 0),
       'most', coalesce(max(posts), 0)) AS "postsOfEach"
     FROM users LEFT JOIN (follows LEFT JOIN posted ON posted.user_id = following_id AND following_id IS NOT NULL)
       ON follower_id = users.id
     WHERE username = ANY($1) GROUP BY 1, 2`,
    [Object.keys(VIEWERS)],
  );
  const found = (name: ViewerName): Viewer => {
    const row = rows.find((candidate) => candidate.name === name);
    if (!row) throw new Error(`no viewer ${name}`);
    return { id: row.id, follows: row.follows, postsOfEach: row.postsOfEach, token: tokenOf(name) };
  };
  const first = await client.query<{ id: string }>("SELECT id FROM ranked WHERE rank = 1");
  return {
    viewers: { busy: found("busy"), average: found("average"), rare: found("rare"), nobody: found("nobody") },
    firstAccountId: first.rows[0]?.id ?? "",
  };
}
