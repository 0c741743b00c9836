import type pg from "pg";
import { SETTINGS } from "./dataset.ts";

const ACCOUNTS = 1_000_000;
/** Accounts that came after all others and were suspended, as after a wave of spam. */
const SUSPENDED = 300_000;

/** Who follows how many: all of them accounts that follow some 300 themselves. */
export const FOLLOWERS = { many: 2_000, few: 20, nobody: 0 } as const;

export type FollowerName = keyof typeof FOLLOWERS;

export interface People {
  ids: Record<FollowerName, string>;
  /** With the suspended ones. */
  accounts: number;
  suspended: number;
  follows: number;
  /** The commonest family name. */
  commonest: { name: string; accounts: number };
}

/** Fills an empty, migrated database with people and follows. Takes some minutes, most of them for the indexes. */
export async function loadPeople(pool: pg.Pool): Promise<People> {
  const client = await pool.connect();
  try {
    for (const setting of SETTINGS) await client.query(setting);
    // Made again afterwards: kept up to date row by row, they take several times as long.
    const { rows: indexes } = await client.query<{ name: string; definition: string }>(
      "SELECT indexname AS name, indexdef AS definition FROM pg_indexes WHERE indexname LIKE 'users_search%'",
    );
    for (const { name } of indexes) await client.query(`DROP INDEX ${name}`);
    for (const statement of STATEMENTS) await client.query(statement);
    for (const { definition } of indexes) await client.query(definition);
    for (const table of ["users", "follows"]) await client.query(`VACUUM (ANALYZE) ${table}`);
    return await describe(client);
  } finally {
    // With its settings and its temporary tables.
    client.release(true);
  }
}

/** Names are of syllables; a name of rank k is given to 1/k of those who have the first, as it is with real ones. */
const STATEMENTS = [
  `CREATE TEMP TABLE syllables AS
   SELECT array_agg(onset || rhyme ORDER BY onset, rhyme) AS all_of_them
   FROM unnest('{b,c,d,f,g,h,j,k,l,m,n,p,r,s,t,v,w,z,ch,st,br,mi}'::text[]) AS onset,
     unnest('{a,e,i,o,u,an,el,er,in,ia}'::text[]) AS rhyme`,
  `CREATE TEMP TABLE names AS
   SELECT n, (SELECT string_agg(all_of_them[1 + floor(random() * 220)::int], '') FROM syllables, generate_series(1, 2 + n % 2)) AS name
   FROM generate_series(1, 20000) AS n`,
  "CREATE UNIQUE INDEX ON names (n)",
  `CREATE TEMP TABLE people AS
   SELECT drawn.n, uuidv7() AS id, given.name AS given, family.name AS family
   FROM (SELECT n, exp(random() * ln(3000))::int AS given, exp(random() * ln(20000))::int AS family
         FROM generate_series(1, ${ACCOUNTS}) AS n OFFSET 0) AS drawn
   JOIN names AS given ON given.n = drawn.given JOIN names AS family ON family.n = drawn.family`,
  "CREATE UNIQUE INDEX ON people (n)",
  // Each word of it and a number make a user name of 30 characters at most.
  `INSERT INTO users (id, username, email, password_hash, display_name, created_at)
   SELECT id, left(given || (ARRAY['.', '_', ''])[1 + n % 3] || family, 23) || n, n || '@example.org', 'none',
     initcap(given) || ' ' || initcap(family), now() - (${ACCOUNTS} - n + 1000) * interval '1 minute'
   FROM people ORDER BY n`,
  `INSERT INTO users (id, username, email, password_hash, display_name, created_at, state)
   SELECT uuidv7(), 'spam' || n, 'spam' || n || '@example.org', 'none', 'Cheap Offer', now() - interval '1 hour', 'suspended'
   FROM generate_series(1, ${SUSPENDED}) AS n`,
  // 4,000 accounts follow some 300 each, a tenth of those among themselves; the newest 200,000 follow two. By Zipf, else.
  `INSERT INTO follows (follower_id, following_id, created_at)
   SELECT follower.id, followed.id, now() - random() * interval '700 days' FROM (
     SELECT DISTINCT follower, CASE WHEN random() < 0.1 THEN 100 * (1 + floor(random() * 4000)::int)
       ELSE exp(random() * ln(${ACCOUNTS}))::int END AS followed
     FROM (SELECT 100 * n AS follower FROM generate_series(1, 4000) AS n, generate_series(1, 400)
           UNION ALL SELECT n FROM generate_series(${ACCOUNTS} - 200000, ${ACCOUNTS}) AS n, generate_series(1, 2)) AS eager
   ) AS pairs
   JOIN people AS follower ON follower.n = pairs.follower JOIN people AS followed ON followed.n = pairs.followed
   WHERE pairs.follower <> pairs.followed`,
  `INSERT INTO users (id, username, email, password_hash)
   SELECT uuidv7(), name, name || '@example.org', 'none' FROM unnest('{${Object.keys(FOLLOWERS)}}'::text[]) AS name`,
  ...Object.entries(FOLLOWERS).map(
    ([name, follows]) => `INSERT INTO follows (follower_id, following_id, created_at)
   SELECT users.id, people.id, now() - random() * interval '700 days' FROM users, people
   WHERE username = '${name}' AND n % 100 = 0 AND n <= 100 * ${follows}`,
  ),
];

async function describe(client: pg.ClientBase): Promise<People> {
  const one = async <Row extends pg.QueryResultRow>(text: string, values: unknown[] = []): Promise<Row> => {
    const row = (await client.query<Row>(text, values)).rows[0];
    if (!row) throw new Error(`nothing came of ${text}`);
    return row;
  };
  const id = async (name: FollowerName) =>
    (await one<{ id: string }>("SELECT id FROM users WHERE username = $1", [name])).id;
  const counts = await one<{ accounts: number; follows: number }>(
    "SELECT (SELECT count(*)::int FROM users) AS accounts, (SELECT count(*)::int FROM follows) AS follows",
  );
  const commonest = await one<People["commonest"]>(
    "SELECT family AS name, count(*)::int AS accounts FROM people GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 1",
  );
  const ids = { many: await id("many"), few: await id("few"), nobody: await id("nobody") };
  return { ids, ...counts, suspended: SUSPENDED, commonest };
}
