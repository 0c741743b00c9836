import { Kysely, PostgresDialect } from "kysely";
import pg from "pg";
import type { Logger } from "pino";
import { tooBusy } from "../http/errors.ts";
import { Client } from "./client.ts";
import type { Schema } from "./schema.ts";
import type { Db } from "./transaction.ts";

/**
 * Connections of their own for reads that may all come at once (a cache that was lost): what there are too many of is
 * refused, and leaves the other connections alone. Nygard, Release It!, "Bulkheads".
 */
export interface Bulkhead {
  /** @throws 503 with Retry-After when too many wait, or `work` would have to wait too long. */
  run<T>(work: (db: Db) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/** Milliseconds that work waits for a connection, and that one statement may take. */
const WAIT = 2_000;
const STATEMENT = 5_000;
/** How many wait for each connection. At some 20 ms a timeline, the last of them is served within WAIT. */
const QUEUE = 100;

export function openBulkhead(connection: pg.PoolConfig, options: { max: number; log: Logger }): Bulkhead {
  const { max, log } = options;
  const pool = new pg.Pool({
    ...connection,
    Client,
    max,
    connectionTimeoutMillis: WAIT,
    statement_timeout: STATEMENT,
    query_timeout: STATEMENT + 1_000,
  });
  pool.on("error", (error) => log.warn({ err: error }, "an idle database connection broke"));
  const db = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) });
  return {
    async run(work) {
      if (pool.waitingCount >= max * QUEUE) throw tooBusy({}, { retryAfter: 1 });
      try {
        return await work(db);
      } catch (error) {
        if (error instanceof Error && /timeout exceeded when trying to connect/.test(error.message)) {
          throw tooBusy({}, { retryAfter: 1, cause: error });
        }
        throw error;
      }
    },
    close: () => pool.end(),
  };
}
