import type pg from "pg";
import { fromKysely, PgBoss } from "pg-boss";
import type { Logger } from "pino";
import { describe } from "../db/database.ts";
import { classifyDatabaseError } from "../db/errors.ts";
import type { Tx } from "../db/transaction.ts";
import { DependencyError } from "../errors.ts";
import type { Job, JobData, JobName, OpenJob, Run } from "./job.ts";

/** Where jobs go whose last try has failed. Nothing takes them from there but `jobs retry` and `jobs purge`. */
export const DEAD_LETTERS = "dead_letters";

const DAY = 86_400;
const DEAD_LETTER_RETENTION = 90 * DAY;
/** What waits for a dependency is looked at again after this many seconds; that uses up no try. */
const OUTAGE_DELAY = 5;

/** Enqueues a job in the transaction that makes it true. */
export type Enqueue = <Name extends JobName>(
  tx: Tx,
  name: Name,
  data: JobData[Name],
  options?: { delaySeconds?: number },
) => Promise<void>;

export interface JobQueue {
  readonly boss: PgBoss;
  readonly enqueue: Enqueue;
  /** Starts taking jobs; the returned function stops: waits for what runs, `timeout` ms at most, and returns the rest. */
  work<Context>(jobs: readonly Job<Context>[], context: Context): Promise<(timeout: number) => Promise<void>>;
  close(): Promise<void>;
}

/**
 * Opens the queue on a schema that `installJobQueue` made; it never alters the schema.
 * @param role `worker` also watches over lost jobs and the schedule; `client` only enqueues and looks.
 */
export async function openJobQueue(
  connection: pg.PoolConfig,
  log: Logger,
  role: "worker" | "client",
): Promise<JobQueue> {
  const takes = role === "worker";
  const boss = new PgBoss({
    ...bossConnection(connection),
    max: takes ? 6 : 2,
    migrate: false,
    createSchema: false,
    supervise: takes,
    schedule: takes,
    useListenNotify: takes,
    // A killed worker's job is found in heartbeat (10 s) + these two; the defaults take over a minute.
    superviseIntervalSeconds: 2,
    monitorIntervalSeconds: 2,
    registerInstance: takes,
  });
  boss.on("error", (error) => log.warn({ err: error }, "job queue"));
  boss.on("warning", (warning) => log.debug({ warning }, "job queue"));
  try {
    await boss.start();
  } catch (error) {
    await boss.stop({ graceful: false }).catch(() => undefined);
    throw new DependencyError(`the job queue cannot be opened: ${describe(error)}`, {
      hint: "Run `tintype migrate`, then start again.",
      cause: error,
    });
  }

  const enqueue: Enqueue = async (tx, name, data, options) => {
    await boss.send(name, data, {
      db: fromKysely(tx),
      ...(options?.delaySeconds ? { startAfter: options.delaySeconds } : {}),
    });
  };

  return {
    boss,
    enqueue,
    close: () => boss.stop({ graceful: false, close: true }),
    async work(jobs, context) {
      const open: OpenJob<never>[] = [];
      for (const job of jobs) {
        const handler = await job.open(context);
        open.push(handler as OpenJob<never>);
        await take(boss, job, handler, context, log);
        if (job.schedule) await boss.schedule(job.name, job.schedule, {}, { tz: "UTC" });
      }
      return async (timeout) => {
        await boss.stop({ graceful: true, close: true, timeout });
        await Promise.all(open.map((handler) => handler.close?.()));
      };
    },
  };
}

/**
 * Installs or updates pg-boss' schema and makes the queues; to be run by `migrate` alone, under its lock.
 */
export async function installJobQueue<Context>(
  connection: pg.PoolConfig,
  jobs: readonly Job<Context>[],
): Promise<void> {
  const boss = new PgBoss({
    ...bossConnection(connection),
    max: 2,
    supervise: false,
    schedule: false,
    registerInstance: false,
  });
  // Unheard, an "error" event would end the process; what matters is thrown by the calls below.
  boss.on("error", () => undefined);
  await boss.start();
  try {
    await boss.createQueue(DEAD_LETTERS, { retentionSeconds: DEAD_LETTER_RETENTION, deleteAfterSeconds: DAY });
    for (const job of jobs) {
      const options = {
        retryLimit: job.attempts - 1,
        retryDelay: 2,
        retryBackoff: true,
        expireInSeconds: job.expireSeconds,
        heartbeatSeconds: 10,
        deleteAfterSeconds: DAY,
        retentionSeconds: DEAD_LETTER_RETENTION,
        deadLetter: DEAD_LETTERS,
        notify: job.urgent,
      };
      await boss.createQueue(job.name, options);
      await boss.updateQueue(job.name, options);
    }
  } finally {
    await boss.stop({ graceful: false, close: true });
  }
}

async function take<Context>(
  boss: PgBoss,
  job: Job<Context>,
  handler: OpenJob<JobData[JobName]>,
  context: Context,
  log: Logger,
): Promise<void> {
  // Batches of two with burst: with one, a backlog that NOTIFY told of waits for the next poll.
  const options = {
    batchSize: 2,
    localConcurrency: Math.max(1, Math.ceil(job.concurrency(context) / 2)),
    burstWhenBatchFull: true,
    pollingIntervalSeconds: 1,
    notifyPollingIntervalSeconds: 1,
    perJobResults: true,
    includeMetadata: true,
  } as const;
  await boss.work<JobData[JobName], unknown, typeof options>(job.name, options, (batch) =>
    Promise.all(
      batch.map(async (item) => {
        const attempt = item.retryCount + 1;
        const run: Run = {
          id: item.id,
          attempt,
          last: attempt >= job.attempts,
          signal: item.signal,
          log: log.child({ job: job.name, job_id: item.id, attempt }),
        };
        try {
          await handler.handle(item.data, run);
          return { id: item.id, status: "completed" as const };
        } catch (error) {
          if (isOutage(error)) {
            // A new job and not a retry: an outage uses up no try.
            run.log.warn({ err: error }, "a dependency is down; the job waits");
            await boss.send(job.name, item.data, { startAfter: OUTAGE_DELAY });
            return { id: item.id, status: "completed" as const, output: { deferred: describe(error) } };
          }
          run.log.warn({ err: error, last: run.last }, "job failed");
          return { id: item.id, status: "failed" as const, output: { message: reasonOf(error) } };
        }
      }),
    ),
  );
}

/** For the operator: with what the decoder or the driver said, which the author of a post does not read. */
function reasonOf(error: unknown): string {
  const detail = error instanceof Error && "detail" in error ? ` (${error.detail})` : "";
  return `${describe(error)}${detail}`;
}

function isOutage(error: unknown): boolean {
  return error instanceof DependencyError || classifyDatabaseError(error) === "unavailable";
}

function bossConnection(connection: pg.PoolConfig) {
  const { host, port, user, password, database, connectionString, application_name } = connection;
  const given = { host, port, user, password, database, connectionString, application_name };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as {
    connectionString?: string;
  };
}
