import type { Context } from "../../src/context.ts";
import { inTransaction } from "../../src/db/transaction.ts";
import { originalKey } from "./keys.ts";
import { deletePending, lockAbandoned } from "./pending-store.ts";

/** Milliseconds. From the first byte in the store to the row it is seconds. */
const MAX_AGE = 3_600_000;
const BATCH = 200;

/**
 * Removes originals that came to no row: their process was killed, or their store answered too late. No backup can know
 * of them. Objects first: as long as the note is there, the next try finds them. @returns how many.
 */
export async function sweepPending({ db, media }: Pick<Context, "db" | "media">): Promise<number> {
  for (let removed = 0; ; ) {
    const swept = await inTransaction(db, async (tx) => {
      const ids = await lockAbandoned(tx, MAX_AGE, BATCH);
      if (ids.length === 0) return 0;
      await media.remove(ids.map(originalKey));
      await deletePending(tx, ids);
      return ids.length;
    });
    removed += swept;
    if (swept < BATCH) return removed;
  }
}
