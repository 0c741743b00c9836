import type { Kysely, Transaction } from "kysely";
import { classifyDatabaseError } from "./errors.ts";
import type { Schema } from "./schema.ts";

/** A place to run queries: the pool, or a transaction. */
export type Db = Kysely<Schema>;
/** Asked for by functions that lock rows, or whose writes must stand or fall with others'. */
export type Tx = Transaction<Schema>;

const ATTEMPTS = 3;

/**
 * Runs `work` in one READ COMMITTED transaction. A deadlock or serialization failure runs it again, three times at
 * most, so `work` must have no effect outside of the transaction.
 */
export async function inTransaction<T>(db: Db, work: (tx: Tx) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await db.transaction().execute(work);
    } catch (error) {
      if (attempt === ATTEMPTS || classifyDatabaseError(error) !== "conflict") throw error;
    }
  }
}
