import type pg from "pg";
import { SETTINGS } from "./dataset.ts";

const ACCOUNTS = 200_000;
/** Of everybody, spread evenly but for `busy`. */
export const NOTIFICATIONS = 1_000_000;
const BUSY = 100_000;
const PEOPLE = 20_000;
/** Of the one post of `busy` that everybody likes. */
export const LIKES_OF_ONE = 1_000_000;
/** Whose posts mention `busy`, and how many of them are private. */
const MENTIONING = 5_000;

export interface Told {
  /** 100,000 notifications, none of them read. */
  busy: string;
  /** Some fifty, half of them read. */
  usual: string;
}

/** Fills an empty, migrated database with notifications. Takes about a minute. */
export async function loadNotifications(pool: pg.Pool): Promise<Told> {
  const client = await pool.connect();
  try {
    for (const setting of SETTINGS) await client.query(setting);
    const { rows: indexes } = await client.query<{ name: string }>(
      "SELECT indexname AS name FROM pg_indexes WHERE indexname LIKE 'users_search%'",
    );
    for (const { name } of indexes) await client.query(`DROP INDEX ${name}`);
    for (const statement of STATEMENTS) await client.query(statement);
    for (const table of TABLES) await client.query(`VACUUM (ANALYZE) ${table}`);
    const { rows } = await client.query<Told>(
      "SELECT (SELECT id FROM ranked WHERE rank = 1) AS busy, (SELECT id FROM ranked WHERE rank = 2) AS usual",
    );
    if (!rows[0]) throw new Error("nobody was made");
    return rows[0];
  } finally {
    // With its settings and its temporary tables.
    client.release(true);
  }
}

export const TABLES = [
  "users",
  "notification_inboxes",
  "notifications",
  "notification_actors",
  "notification_comments",
];

const STATEMENTS = [
  `INSERT INTO users (id, username, email, password_hash, is_private)
   SELECT uuidv7(), 'user' || n, 'user' || n || '@example.org', 'none', n % 10 = 0 FROM generate_series(1, ${ACCOUNTS}) AS n`,
  "CREATE TEMP TABLE ranked AS SELECT row_number() OVER (ORDER BY username)::int AS rank, id FROM users",
  "CREATE UNIQUE INDEX ON ranked (rank)",
  `INSERT INTO notification_inboxes (user_id, last_at, read_at)
   SELECT id, now(), CASE WHEN rank = 1 THEN to_timestamp(0) ELSE now() - interval '45 days' END
   FROM ranked WHERE rank <= ${PEOPLE}`,
  // In the order of time, as they come: one person's are spread over all of the table. A third are mentions by posts of others.
  `INSERT INTO notifications (id, user_id, type, subject, post_id, post_author_id, actor_count, created_at, updated_at)
   SELECT uuidv7(at - now()), person.id, CASE WHEN n % 3 = 0 THEN 'mention' ELSE 'like' END, post, post,
          CASE WHEN n % 3 = 0 THEN author.id END, 2, at, at
   FROM (SELECT n, gen_random_uuid() AS post, now() - interval '90 days' * (1 - n::float8 / ${NOTIFICATIONS}) AS at
         FROM generate_series(1, ${NOTIFICATIONS}) AS n) AS told
   JOIN ranked AS person ON person.rank = CASE WHEN n % ${NOTIFICATIONS / BUSY} = 0 THEN 1 ELSE 2 + (n * 7919::bigint) % ${PEOPLE - 1} END
   JOIN ranked AS author ON author.rank = 1 + (n * 104729::bigint) % ${MENTIONING}
   ORDER BY at`,
  `INSERT INTO notification_actors (notification_id, actor_id, at, counted)
   SELECT told.id, actor.id, updated_at - actor.n * interval '1 minute', true
   FROM (SELECT id, updated_at, row_number() OVER (ORDER BY id) AS place FROM notifications) AS told
   CROSS JOIN LATERAL (SELECT ranked.id, n FROM generate_series(0, 1) AS n
     JOIN ranked ON rank = 1 + (place * 15485863 + n * 7) % ${ACCOUNTS}) AS actor
   ORDER BY told.id`,
  // The latest of those who like one post are accounts, as many as there are; the others only take their room.
  `WITH one AS (
     INSERT INTO notifications (id, user_id, type, subject, post_id, actor_count, created_at, updated_at)
     SELECT uuidv7(), id, 'like', 'one', gen_random_uuid(), ${LIKES_OF_ONE}, now() - interval '1 day', now()
     FROM ranked WHERE rank = 1 RETURNING id
   )
   INSERT INTO notification_actors (notification_id, actor_id, at, counted)
   SELECT one.id, coalesce(ranked.id, gen_random_uuid()), now() - n * interval '80 milliseconds', true
   FROM one, generate_series(1, ${LIKES_OF_ONE}) AS n LEFT JOIN ranked ON rank = n + 1`,
];
