import { type RawBuilder, sql } from "kysely";

/**
 * What one statement of Postgres saw: of the transactions that write, those that had ended. It orders what was read
 * against what was changed without any clock, on whichever servers the two happened.
 * https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-SNAPSHOT
 */
export interface PgSnapshot {
  /** All transactions below it had ended. */
  xmin: number;
  /** None from it on had. */
  xmax: number;
  /** Those between the two that were still running. */
  running: readonly number[];
}

/** To be selected beside what is read, in the same statement. */
export const PG_SNAPSHOT: RawBuilder<string> = sql<string>`pg_current_snapshot()::text`;

/** @param text `xmin:xmax:xid,xid…`. Postgres counts with 64 bits, and 2^53 transactions are more than anybody makes. */
export function parsePgSnapshot(text: string): PgSnapshot {
  const [xmin = "", xmax = "", running = ""] = text.split(":");
  return {
    xmin: Number(xmin),
    xmax: Number(xmax),
    running: running === "" ? [] : running.split(",").map(Number),
  };
}

/** Whether a transaction had ended when the snapshot was taken: what it did was seen, or it did nothing. */
export function hadEnded({ xmin, xmax, running }: PgSnapshot, xid: number): boolean {
  return xid < xmin || (xid < xmax && !running.includes(xid));
}
