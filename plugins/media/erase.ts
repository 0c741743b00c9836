import type { Context } from "../../src/context.ts";
import { inTransaction } from "../../src/db/transaction.ts";
import { untilNotInHand } from "../../src/jobs/in-hand.ts";
import { removeObjects } from "./media.ts";
import { deleteMedia, markRemoved, mediaOfOwner } from "./store.ts";

const BATCH = 200;

/**
 * Removes every medium of the account, whatever it was for: rows, originals and renditions. When it resolves the store
 * has nothing of it left, so it waits for workers that are just processing one; those that come later find it removed.
 * Rows go last: as long as one is there, the next try knows of the objects.
 * @throws NotYetError while a backup may still have to read the objects.
 */
export async function eraseMedia(
  context: Pick<Context, "db" | "media">,
  userId: string,
  signal: AbortSignal,
): Promise<void> {
  const { db } = context;
  for (;;) {
    signal.throwIfAborted();
    const ids = await mediaOfOwner(db, userId, BATCH);
    if (ids.length === 0) return;
    await inTransaction(db, (tx) => markRemoved(tx, ids));
    await untilNotInHand(db, "media.process", { field: "medium_id", ids, signal });
    await removeObjects(context, ...ids);
    await deleteMedia(db, ids);
  }
}
