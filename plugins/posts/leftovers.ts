import { sql } from "kysely";
import type { Context } from "../../src/context.ts";
import { type Counter, lookOf } from "../../src/counters.ts";
import { type Db, inTransaction } from "../../src/db/transaction.ts";
import type { JobName } from "../../src/jobs/job.ts";

/**
 * Rows about posts that do not refer to them, since that would lock the row of a post that many like at once. What is left of a post
 * that was deleted is removed by a job, later than any statement can end that still saw the post; meanwhile nobody is shown
 * it, for nobody finds the post.
 */
export interface LeftoverRows {
  /** Has a column `post_id` with an index that begins with it. */
  table: "likes" | "like_counts" | "saves";
  /** Removes them; its data name the post in `post_id`. */
  job: JobName;
}

/** Rows of one transaction. */
const BATCH = 1_000;

/** Seconds after which no statement is under way any more that found a post which was deleted: twice its time, and a minute. */
export function forgetDelay({ config }: Pick<Context, "config">): number {
  return 60 + Math.ceil((2 * config.database.statement_timeout) / 1000);
}

/** Removes all rows of a post that is gone. May be ended at any moment and run again. */
export async function forgetPost(
  db: Db,
  { table, postId, signal }: Pick<LeftoverRows, "table"> & { postId: string; signal: AbortSignal },
): Promise<void> {
  while ((await deleteSome(db, table, postId)) === BATCH) signal.throwIfAborted();
}

async function deleteSome(db: Db, table: LeftoverRows["table"], postId: string): Promise<number> {
  return inTransaction(db, async (tx) => {
    const result = await sql`
      DELETE FROM ${sql.table(table)} WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM ${sql.table(table)} WHERE post_id = ${postId}::uuid LIMIT ${BATCH} FOR UPDATE))`.execute(tx);
    return Number(result.numAffectedRows ?? 0n);
  });
}

/** Counts the rows of posts that are gone and whose job has ended, or is lost: there must be none. */
export function leftoverCounter({ table, job }: LeftoverRows): Counter {
  const rows = sql.table(table);
  const count = sql`(SELECT count(*)::int FROM ${rows} AS row WHERE row.post_id = walked.id)`;
  // Posts and jobs of one snapshot: the job is there as soon as the post is not. NOT IN, so that the jobs are read once.
  const forgotten = sql`NOT EXISTS (SELECT FROM posts WHERE posts.id = walked.id) AND walked.id::text NOT IN (
    SELECT coalesce(data->>'post_id', '') FROM pgboss.job WHERE name = ${job} AND state IN ('created', 'retry', 'active'))`;
  return {
    name: `${table} of posts that are gone`,
    async look(db, { after, limit }) {
      // From post to post by index, however many rows each of them has.
      const found = await sql<{ id: string; kept: number; actual: number }>`
        WITH RECURSIVE walked (id) AS (
          (SELECT post_id FROM ${rows} WHERE post_id > ${after}::uuid ORDER BY post_id LIMIT 1)
          UNION ALL
          SELECT (SELECT post_id FROM ${rows} WHERE post_id > walked.id ORDER BY post_id LIMIT 1)
          FROM walked WHERE walked.id IS NOT NULL
        )
        SELECT id, CASE WHEN ${forgotten} THEN ${count} ELSE 0 END AS kept, 0 AS actual
        FROM (SELECT id FROM walked WHERE id IS NOT NULL LIMIT ${limit}) AS walked`.execute(db);
      return lookOf(found.rows, limit);
    },
    async hold(tx, id) {
      const found = await sql<{ kept: number; actual: number }>`
        SELECT ${count} AS kept, 0 AS actual FROM (SELECT ${id}::uuid AS id) AS walked WHERE ${forgotten}`.execute(tx);
      return found.rows[0] ?? null;
    },
    async repair(tx, id) {
      await sql`
        DELETE FROM ${rows} WHERE ctid = ANY (ARRAY(
          SELECT ctid FROM ${rows} WHERE post_id = ${id}::uuid LIMIT ${10 * BATCH} FOR UPDATE))`.execute(tx);
    },
  };
}
