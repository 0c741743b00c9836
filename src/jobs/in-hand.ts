import { setTimeout as delay } from "node:timers/promises";
import { sql } from "kysely";
import type { Db } from "../db/transaction.ts";
import type { JobData, JobName } from "./job.ts";

/** Milliseconds between two looks. */
const LOOK = 200;

/**
 * Waits until no worker has a job of this kind in hand whose data name one of the ids: what such a worker may still
 * write, it has then written. Jobs that only wait are of no account; whoever calls this has seen to it that they find
 * nothing to do. A killed worker counts as one until it is missed, some 12 seconds.
 * @param field of the job's data, which holds the id.
 * @throws the signal's reason.
 */
export async function untilNotInHand<Name extends JobName>(
  db: Db,
  name: Name,
  { field, ids, signal }: { field: keyof JobData[Name] & string; ids: readonly string[]; signal: AbortSignal },
): Promise<void> {
  for (;;) {
    signal.throwIfAborted();
    const { rows } = await sql`
      SELECT FROM pgboss.job WHERE name = ${name} AND state = 'active' AND data->>${field} = ANY(${ids}) LIMIT 1`.execute(
      db,
    );
    if (rows.length === 0) return;
    await delay(LOOK, undefined, { signal });
  }
}
