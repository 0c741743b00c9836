import { sql } from "kysely";
import type { Db } from "../db/transaction.ts";
import { OperationError } from "../errors.ts";
import { DEAD_LETTERS, type JobQueue } from "./queue.ts";

export interface QueueStatus {
  queue: string;
  waiting: number;
  /** To be tried again. */
  retrying: number;
  active: number;
  completed: number;
  /** Dead letters that came from this queue. */
  failed: number;
  /** Age of the oldest job that could run now, in seconds; null when none waits. */
  oldest_seconds: number | null;
}

export interface JobRow {
  id: string;
  queue: string;
  state: "waiting" | "retrying" | "active" | "completed" | "failed";
  attempts: number;
  data: Record<string, unknown>;
  reason: string | null;
  created_at: Date;
  finished_at: Date | null;
}

/** @throws OperationError for a queue that is not there: a typo must not read as "nothing failed". */
export async function assertQueue(db: Db, queue: string | undefined): Promise<void> {
  if (queue === undefined) return;
  const names = (await jobStatus(db)).map((status) => status.queue);
  if (names.includes(queue)) return;
  throw new OperationError(`there is no queue ${queue}`, { hint: `The queues are ${names.join(", ")}.` });
}

/** Counts by queue and state, read from the job table itself: pg-boss' own cache of them may be a minute old. */
export async function jobStatus(db: Db): Promise<QueueStatus[]> {
  const { rows } = await sql<QueueStatus>`
    SELECT q.name AS queue,
      count(j.id) FILTER (WHERE j.state = 'created')::int AS waiting,
      count(j.id) FILTER (WHERE j.state = 'retry')::int AS retrying,
      count(j.id) FILTER (WHERE j.state = 'active')::int AS active,
      count(j.id) FILTER (WHERE j.state = 'completed')::int AS completed,
      (SELECT count(*)::int FROM pgboss.job d WHERE d.name = ${DEAD_LETTERS} AND d.state < 'active' AND d.source_name = q.name) AS failed,
      extract(epoch FROM now() - min(j.created_on) FILTER (WHERE j.state < 'active' AND j.start_after <= now()))::float8 AS oldest_seconds
    FROM pgboss.queue q LEFT JOIN pgboss.job j ON j.name = q.name
    WHERE q.name <> ${DEAD_LETTERS} AND q.name NOT LIKE '\\_\\_pgboss%'
    GROUP BY q.name ORDER BY q.name`.execute(db);
  return rows;
}

/** The latest jobs, newest first; `failed` shows the dead letters, with the id that `jobs retry` takes. */
export async function listJobs(db: Db, options: { failed: boolean; queue?: string; limit: number }): Promise<JobRow[]> {
  const { failed, queue = null, limit } = options;
  const { rows } = failed
    ? await sql<JobRow>`
        SELECT id, source_name AS queue, 'failed' AS state, source_retry_count + 1 AS attempts, data,
          coalesce(source_output->>'message', source_output->'value'->>'message') AS reason,
          source_created_on AS created_at, created_on AS finished_at
        FROM pgboss.job
        WHERE name = ${DEAD_LETTERS} AND state < 'active' AND (${queue}::text IS NULL OR source_name = ${queue})
        ORDER BY created_on DESC, id DESC LIMIT ${limit}`.execute(db)
    : await sql<JobRow>`
        SELECT id, name AS queue, data, created_on AS created_at, completed_on AS finished_at,
          CASE state WHEN 'created' THEN 'waiting' WHEN 'retry' THEN 'retrying' ELSE state::text END AS state,
          retry_count + (started_on IS NOT NULL)::int AS attempts,
          coalesce(output->>'message', output->'value'->>'message') AS reason
        FROM pgboss.job
        WHERE name <> ${DEAD_LETTERS} AND name NOT LIKE '\\_\\_pgboss%' AND state <> 'failed'
          AND (${queue}::text IS NULL OR name = ${queue})
        ORDER BY created_on DESC, id DESC LIMIT ${limit}`.execute(db);
  return rows;
}

/** Puts dead letters back into the queues they came from. @returns how many. */
export async function retryJobs(
  queue: JobQueue,
  filter: { ids?: string[] | undefined; queue?: string | undefined },
): Promise<number> {
  const options = { ...(filter.ids ? { ids: filter.ids } : {}), ...(filter.queue ? { sourceName: filter.queue } : {}) };
  let moved = 0;
  // Letters that die again while this runs are not swept in twice.
  const { rows } = await queue.boss.getDb().executeSql("SELECT clock_timestamp() AS now");
  const createdBefore: Date = rows[0]?.now;
  for (;;) {
    const count = await queue.boss.redrive(DEAD_LETTERS, {
      ...options,
      ...(filter.ids ? {} : { createdBefore }),
      limit: 1000,
    });
    moved += count;
    if (count < 1000) return moved;
  }
}

/** Deletes dead letters for good. With `dryRun` only counts them. */
export async function purgeJobs(
  db: Db,
  options: { olderThanMs: number; queue?: string | undefined; dryRun: boolean },
): Promise<number> {
  const { olderThanMs, queue = null, dryRun } = options;
  const matching = sql`
    FROM pgboss.job WHERE name = ${DEAD_LETTERS} AND state < 'active'
      AND created_on <= now() - ${olderThanMs} * interval '1 millisecond'
      AND (${queue}::text IS NULL OR source_name = ${queue})`;
  const { rows } = dryRun
    ? await sql<{ n: number }>`SELECT count(*)::int AS n ${matching}`.execute(db)
    : await sql<{
        n: number;
      }>`WITH gone AS (DELETE ${matching} RETURNING 1) SELECT count(*)::int AS n FROM gone`.execute(db);
  return rows[0]?.n ?? 0;
}
