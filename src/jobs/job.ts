import type { Logger } from "pino";
import { DependencyError } from "../errors.ts";

/** Which job takes which data. Features add theirs by declaration merging, as with Events. Data are ids, never rows. */
export interface JobData extends Record<never, never> {}

export type JobName = keyof JobData;

/** What a handler knows of the try that it is. */
export interface Run {
  id: string;
  /** 1 for the first try. */
  attempt: number;
  /** When the job was enqueued, by the database's clock. */
  enqueued_at: Date;
  /** After a failure of this one there is no other: the job goes to the dead letters. */
  last: boolean;
  /** Aborted when the job has been taken away (its heartbeat was missed, the process ends). */
  signal: AbortSignal;
  log: Logger;
}

/** Thrown by a handler whose time has not come, through nobody's fault: the job is put back and uses up no try. */
export class NotYetError extends DependencyError {
  /** When to ask again. */
  readonly seconds: number;

  constructor(message: string, seconds: number) {
    super(message);
    this.seconds = seconds;
  }
}

/** A handler that is open, with what it holds (a decoder pool). */
export interface OpenJob<Data> {
  /** Must be idempotent: a job may run twice, also at the same time. */
  handle(data: Data, run: Run): Promise<void>;
  close?(): Promise<void>;
}

/** A kind of background job: its queue, how it is retried, and how its handler is opened in a process that takes jobs. */
export interface Job<Context, Name extends JobName = JobName> {
  name: Name;
  /** Tries in all, the first included. Between them about 2–4 s, then 4–8 s, and so on (exponential, jittered). */
  attempts: number;
  /** How many run at once in one process. */
  concurrency(context: Context): number;
  /** Wake a worker by NOTIFY: 5 ms instead of up to a second, at a third of the commits a second. */
  urgent: boolean;
  /** Seconds that one try may take; the heartbeat finds a killed worker long before. */
  expireSeconds: number;
  /** Cron expression, UTC: the job is also enqueued by the clock, once for all processes together. */
  schedule?: string;
  open(context: Context): Promise<OpenJob<JobData[Name]>>;
}

/** Keeps the relation between a job's name and its data, which an array of jobs would lose. */
export function defineJob<Context, Name extends JobName>(job: Job<Context, Name>): Job<Context> {
  return job as Job<Context>;
}
