import type pg from "pg";
import type { Logger } from "pino";
import type { Config } from "./config/schema.ts";
import type { Db } from "./db/transaction.ts";
import type { Emit } from "./events.ts";
import type { Enqueue, JobQueue } from "./jobs/queue.ts";
import type { KeptData } from "./kept-data.ts";
import type { Notices } from "./notices.ts";
import type { MediaStore } from "./ports/media.ts";

/** What features are given: everything that a process has open. Made by deps.ts, closed there. */
export interface Context {
  readonly config: Config;
  readonly log: Logger;
  readonly db: Db;
  /** For reads that want one round trip without a query builder, and for probes. */
  readonly pool: pg.Pool;
  readonly media: MediaStore;
  readonly queue: JobQueue;
  readonly enqueue: Enqueue;
  readonly emit: Emit;
  readonly notices: Notices;
  readonly kept: KeptData;
}
