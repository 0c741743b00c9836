import type pg from "pg";
import type { Logger } from "pino";
import type { Config } from "./config/schema.ts";
import type { Bulkhead } from "./db/bulkhead.ts";
import type { Db } from "./db/transaction.ts";
import type { Emit } from "./events.ts";
import type { Enqueue, EnqueueAll, JobQueue } from "./jobs/queue.ts";
import type { KeptData } from "./kept-data.ts";
import type { Notices } from "./notices.ts";
import type { MediaStore } from "./ports/media.ts";
import type { RedisStore } from "./redis/redis.ts";

/** What features are given: everything that a process has open. Made by deps.ts, closed there. */
export interface Context {
  readonly config: Config;
  readonly log: Logger;
  readonly db: Db;
  /** For reads that want one round trip without a query builder, and for probes. */
  readonly pool: pg.Pool;
  /** For reads that may all come at once, and may be refused. */
  readonly bulkhead: Bulkhead;
  /** Null where none is configured. */
  readonly redis: RedisStore | null;
  readonly notices: Notices;
  readonly media: MediaStore;
  readonly queue: JobQueue;
  readonly enqueue: Enqueue;
  readonly enqueueAll: EnqueueAll;
  readonly emit: Emit;
  readonly kept: KeptData;
}
