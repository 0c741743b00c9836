import { setTimeout as delay } from "node:timers/promises";
import { sql } from "kysely";
import type pg from "pg";
import { fromKysely, type JobResult, type JobWithMetadata, PgBoss, type Queue } from "pg-boss";
import type { Logger } from "pino";
import { Client } from "../db/client.ts";
import { describe } from "../db/database.ts";
import { classifyDatabaseError, isDatabaseError } from "../db/errors.ts";
import type { Tx } from "../db/transaction.ts";
import { DependencyError } from "../errors.ts";
import { oncePer } from "../log.ts";
import { type Job, type JobData, type JobName, NotYetError, type OpenJob, type Run } from "./job.ts";

/** Where jobs go whose last try has failed. Nothing takes them from there but `jobs retry` and `jobs purge`. */
export const DEAD_LETTERS = "dead_letters";

const HOUR = 3_600;
const RETENTION = 90 * 24 * HOUR;
/** The supervisor counts the whole job table every two seconds, so what is done must not pile up in it. */
const COMPLETED_RETENTION = HOUR;
/**
 * Milliseconds after which a worker sees to it that the clock still has its jobs: so long they may be missing where a worker
 * in which their feature is off was started after it.
 */
const RESCHEDULE_EVERY = 60_000;
/** Of the advisory locks of those who look whether a job waits; any number that nobody else takes. */
const ENQUEUE_LOCK = 0x6a6f6273;
/** A job that was put back (an outage, a stop) is taken again after this many seconds. */
const PUT_BACK_DELAY = 5;
/** Milliseconds of a stop's time that are kept to give back what still runs. */
const STOP_RESERVE = 1_000;

/** Enqueues a job in the transaction that makes it true. */
export type Enqueue = <Name extends JobName>(
  tx: Tx,
  name: Name,
  data: JobData[Name],
  options?: {
    delaySeconds?: number;
    /** Those with a higher one are taken first; 0 unless told otherwise. */
    priority?: number;
    /**
     * Nothing is enqueued where one of that name waits to be taken, with whatever data, and so at most one does: for jobs that do
     * all that there is to do. Who asks the same waits for the end of this transaction.
     */
    unlessWaiting?: true;
  },
) => Promise<void>;

/** The same for many of one kind, in one statement: 500 one by one are 500 round trips. The caller bounds how many. */
export type EnqueueAll = <Name extends JobName>(tx: Tx, name: Name, data: readonly JobData[Name][]) => Promise<void>;

export interface JobQueue {
  readonly boss: PgBoss;
  readonly enqueue: Enqueue;
  readonly enqueueAll: EnqueueAll;
  /**
   * Starts taking jobs; the returned function stops: waits for what runs, and puts the rest back within `timeout` ms.
   * @param known also the jobs of features that are off: the clock enqueues those no more, unless another worker has them on.
   */
  work<Context>(
    jobs: readonly Job<Context>[],
    context: Context,
    known?: readonly Job<Context>[],
  ): Promise<(timeout: number) => Promise<void>>;
  close(): Promise<void>;
}

/**
 * Opens the queue on a schema that `installJobQueue` made; it never alters the schema.
 * @param role `worker` also watches over lost jobs and the schedule; `client` only enqueues and looks.
 * @param options.rescheduleEvery milliseconds.
 */
export async function openJobQueue(
  connection: pg.PoolConfig,
  log: Logger,
  role: "worker" | "client",
  { rescheduleEvery = RESCHEDULE_EVERY } = {},
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
    // How often finished jobs are deleted; the default is once a day.
    maintenanceIntervalSeconds: 600,
    registerInstance: takes,
  });
  // With Postgres down each poll of each queue fails.
  const complain = oncePer(10_000, (error: unknown) => log.warn({ err: error }, "job queue"));
  boss.on("error", complain);
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
    if (options?.unlessWaiting && (await waits(tx, name))) return;
    await boss.send(name, data, {
      db: fromKysely(tx),
      ...(options?.delaySeconds ? { startAfter: options.delaySeconds } : {}),
      ...(options?.priority ? { priority: options.priority } : {}),
    });
  };

  const enqueueAll: EnqueueAll = async (tx, name, data) => {
    if (data.length === 0) return;
    await boss.insert(
      name,
      data.map((one) => ({ data: one })),
      { db: fromKysely(tx) },
    );
  };

  const ending = new AbortController();
  const open: { close?(): Promise<void> }[] = [];
  let rescheduling: NodeJS.Timeout | undefined;
  const stop = async (timeout: number) => {
    clearInterval(rescheduling);
    const putBackRest = setTimeout(() => ending.abort(), Math.max(timeout - STOP_RESERVE, timeout / 2));
    await boss.stop({ graceful: true, close: true, timeout });
    clearTimeout(putBackRest);
    await Promise.all(open.splice(0).map((handler) => handler.close?.()));
  };

  return {
    boss,
    enqueue,
    enqueueAll,
    close: () => stop(0),
    async work(jobs, context, known = jobs) {
      for (const job of jobs) {
        const handler = await job.open(context);
        open.push(handler);
        await take(boss, job, handler, { concurrency: job.concurrency(context), log, ending: ending.signal });
      }
      for (const { name } of known) {
        if (!jobs.some((job) => job.name === name && job.schedule)) await boss.unschedule(name);
      }
      const schedule = async () => {
        for (const { name, schedule } of jobs) {
          // Kept an hour at most: a version that was rolled back leaves schedules behind whose jobs nobody takes.
          if (schedule) await boss.schedule(name, schedule, {}, { tz: "UTC", retentionSeconds: HOUR });
        }
      };
      await schedule();
      // Again and again: another process, in which the feature of a job is off, may have started since.
      rescheduling = setInterval(() => void schedule().catch(complain), rescheduleEvery).unref();
      return stop;
    },
  };
}

/**
 * Whether there is a job that nobody has taken yet. A policy of the queue would see to it too, but a job could not be put back then
 * while another waits.
 */
async function waits(tx: Tx, name: JobName): Promise<boolean> {
  await sql`SELECT pg_advisory_xact_lock(${ENQUEUE_LOCK}::int, hashtext(${name}))`.execute(tx);
  const { rows } = await sql<{ found: boolean }>`
    SELECT EXISTS (SELECT FROM pgboss.job WHERE name = ${name} AND state < 'active') AS found`.execute(tx);
  return rows[0]?.found ?? false;
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
    const makeQueue = async (name: string, options: Omit<Queue, "name" | "policy" | "partition">) => {
      await boss.createQueue(name, options);
      // The line above changes nothing of a queue that was there.
      await boss.updateQueue(name, options);
    };
    await makeQueue(DEAD_LETTERS, { retentionSeconds: RETENTION, deleteAfterSeconds: COMPLETED_RETENTION });
    for (const job of jobs) {
      await makeQueue(job.name, {
        retryLimit: job.attempts - 1,
        retryDelay: 2,
        retryBackoff: true,
        expireInSeconds: job.expireSeconds,
        heartbeatSeconds: 10,
        deleteAfterSeconds: COMPLETED_RETENTION,
        retentionSeconds: RETENTION,
        // What the clock enqueues comes again by itself; a letter a minute would only hide the others.
        ...(job.schedule ? {} : { deadLetter: DEAD_LETTERS }),
        notify: job.urgent,
      });
    }
  } finally {
    await boss.stop({ graceful: false, close: true });
  }
}

/** What one place of a worker needs to run a job. */
interface Place {
  log: Logger;
  /** Aborted when a stop's time is up. */
  ending: AbortSignal;
}

/** Opens `concurrency` places that take one job at a time: in a batch, each result would wait for the slowest. */
async function take<Context>(
  boss: PgBoss,
  job: Job<Context>,
  handler: OpenJob<JobData[JobName]>,
  { concurrency, ...place }: Place & { concurrency: number },
): Promise<void> {
  const options = {
    batchSize: 1,
    pollingIntervalSeconds: 1,
    notifyPollingIntervalSeconds: 1,
    perJobResults: true,
    includeMetadata: true,
  } as const;
  for (let index = 0; index < concurrency; index++) {
    const id: string = await boss.work<JobData[JobName], unknown, typeof options>(job.name, options, (items) => {
      // More may lie behind it: without this, a backlog that NOTIFY told of once waits for a poll after every job.
      boss.notifyWorker(id);
      return Promise.all(items.map((item) => runOnce(boss, handler, item, place)));
    });
  }
}

async function runOnce(
  boss: PgBoss,
  handler: OpenJob<JobData[JobName]>,
  item: JobWithMetadata<JobData[JobName]>,
  { log, ending }: Place,
): Promise<JobResult> {
  const attempt = item.retryCount + 1;
  const run: Run = {
    id: item.id,
    attempt,
    enqueued_at: item.createdOn,
    // The limit that it was enqueued with, which the job's definition may have left behind.
    last: item.retryCount >= item.retryLimit,
    signal: AbortSignal.any([item.signal, ending]),
    log: log.child({ job: item.name, job_id: item.id, attempt }),
  };
  const ended = Promise.withResolvers<never>();
  const end = () => ended.reject(new Error("the worker is being stopped"));
  ending.addEventListener("abort", end);
  try {
    await Promise.race([handler.handle(item.data, run), ended.promise]);
    return { id: item.id, status: "completed" };
  } catch (error) {
    if (ending.aborted || isOutage(error)) {
      const notYet = error instanceof NotYetError;
      run.log[notYet ? "debug" : "warn"]({ err: error }, "the job is put back and waits");
      await putBack(boss, item, run.signal, notYet ? error.seconds : PUT_BACK_DELAY);
      // It is no longer this worker's, so what is said here of it settles nothing.
      return { id: item.id, status: "completed" };
    }
    run.log.warn({ err: error, last: run.last }, "job failed");
    return { id: item.id, status: "failed", output: { message: reasonOf(error) } };
  } finally {
    ending.removeEventListener("abort", end);
  }
}

/**
 * Makes a job as if this try had not been: without `started_on`, the next claim counts no retry. It changes nothing
 * once another worker has it. Where Postgres itself is down it asks again until it is back, or the claim is lost.
 */
async function putBack(boss: PgBoss, item: JobWithMetadata, signal: AbortSignal, delaySeconds: number): Promise<void> {
  for (;;) {
    try {
      await boss.getDb().executeSql(
        `UPDATE pgboss.job SET state = 'created', started_on = NULL, heartbeat_on = NULL,
           start_after = now() + $4::int * interval '1 second'
         WHERE name = $1 AND id = $2 AND retry_count = $3 AND state IN ('active', 'retry')`,
        [item.name, item.id, item.retryCount, delaySeconds],
      );
      return;
    } catch (error) {
      if (!isOutage(error) || signal.aborted) throw error;
      await delay(1_000, undefined, { signal }).catch(() => undefined);
    }
  }
}

/** For the operator: also what the decoder or the driver said, which the author of a post does not read. */
function reasonOf(error: unknown): string {
  const detail = error instanceof Error && "detail" in error && !isDatabaseError(error) ? ` (${error.detail})` : "";
  // libvips goes on for pages.
  return `${describe(error)}${detail}`.split("\n", 1)[0]?.slice(0, 300) ?? "";
}

/** Whether an error says that a dependency is down: the job is then put back, and uses up no try. */
export function isOutage(error: unknown): boolean {
  return error instanceof DependencyError || classifyDatabaseError(error) === "unavailable";
}

function bossConnection(connection: pg.PoolConfig) {
  const { host, port, user, password, database, connectionString, application_name } = connection;
  // pg-boss hands all of it to its pool.
  const given = { host, port, user, password, database, connectionString, application_name, Client };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as {
    connectionString?: string;
  };
}
