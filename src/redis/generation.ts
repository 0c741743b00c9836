import { sql } from "kysely";
import { hadEnded, type PgSnapshot } from "../db/snapshot.ts";
import type { Db } from "../db/transaction.ts";
import { defineScript } from "./scripts.ts";

/**
 * What a Redis that was new, or was emptied, cannot know: the changes that it had been told of. What was read by a
 * snapshot of Postgres knows of all of them if it was taken after a number that no transaction had by then (`after`), and
 * saw the end of those that were running (`running`). It is kept with each tag's keys, and goes with them.
 *
 * Only transactions of this database count: a long one of another would keep everything out of Redis.
 *
 * @returns `after:running,running`
 */
export async function newGeneration(db: Db): Promise<string> {
  // In this order: whoever ends between the two is seen to have ended by what is read after the second.
  const running = await sql<{ xid: number }>`
    SELECT transactionid::text::bigint AS xid FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE datname = current_database() AND locktype = 'transactionid' AND mode = 'ExclusiveLock' AND granted`.execute(
    db,
  );
  const { rows } = await sql<{ xid: number }>`SELECT pg_current_xact_id()::text::bigint AS xid`.execute(db);
  const after = rows[0]?.xid ?? 0;
  return `${after}:${running.rows.map(({ xid }) => widened(xid, after))}`;
}

/** The same question that KNOWS_ALL in scripts.ts asks. @param generation as above. */
export function knowsGeneration(snapshot: PgSnapshot, generation: string): boolean {
  const [, after, running] = /^(\d+):(.*)$/.exec(generation) ?? [];
  if (after === undefined || running === undefined || snapshot.xmax <= Number(after)) return false;
  return running === "" || running.split(",").every((xid) => hadEnded(snapshot, Number(xid)));
}

const WRAP = 2 ** 32;

/** Of an id the 32 bits that locks show of it, made whole: the latest that is not above `after`. */
function widened(xid: number, after: number): number {
  return after - ((((after - xid) % WRAP) + WRAP) % WRAP);
}

/** Milliseconds after which somebody else may begin one, if who marked it died. */
export const MARK_KEPT = 10_000;

/** KEYS generation; ARGV the mark of who begins it, the new one. */
export const FILL_GENERATION = defineScript(
  "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2]) end",
);
