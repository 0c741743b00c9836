import { defineJob, type Job, type Run } from "../../../src/jobs/job.ts";
import { installJobQueue, type JobQueue, openJobQueue } from "../../../src/jobs/queue.ts";
import { silent } from "./database.ts";

declare module "../../../src/jobs/job.ts" {
  interface JobData {
    [name: `test.${string}`]: { n: number };
  }
}

interface Test {
  teardown(end: () => unknown): void;
}

/** What a test says of a job; the rest is: one try, one at a time, woken by NOTIFY. */
export interface TestJob extends Partial<Omit<Job<unknown>, "open" | "concurrency">> {
  name: `test.${string}`;
  concurrency?: number;
  handle(data: { n: number }, run: Run): Promise<void>;
}

export function testJob({ handle, concurrency = 1, ...job }: TestJob): Job<unknown> {
  return defineJob<unknown, `test.${string}`>({
    attempts: 1,
    urgent: true,
    expireSeconds: 60,
    ...job,
    concurrency: () => concurrency,
    open: async () => ({ handle }),
  });
}

export interface TestWorker {
  queue: JobQueue;
  /** Stops taking jobs; 10 s for what runs unless told otherwise. Once is enough, and the test's end does it too. */
  stop(timeout?: number): Promise<void>;
}

/** Makes the queues of `jobs` and starts a worker that takes them; jobs of features that are `off` have theirs. */
export async function startWorker(
  t: Test,
  url: string,
  jobs: readonly Job<unknown>[],
  off: readonly Job<unknown>[] = [],
  options: Parameters<typeof openJobQueue>[3] = {},
): Promise<TestWorker> {
  const connection = { connectionString: url };
  await installJobQueue(connection, jobs);
  const queue = await openJobQueue(connection, silent, "worker", options);
  t.teardown(() => queue.close());
  const stopWork = await queue.work(jobs, null, [...jobs, ...off]);
  let stopped: Promise<void> | null = null;
  const stop = (timeout = 10_000) => {
    stopped ??= stopWork(timeout);
    return stopped;
  };
  t.teardown(() => stop());
  return { queue, stop };
}

/** A queue that only enqueues and looks, as a server without a worker has it. */
export async function openClient(t: Test, url: string): Promise<JobQueue> {
  const queue = await openJobQueue({ connectionString: url }, silent, "client");
  t.teardown(() => queue.close());
  return queue;
}
