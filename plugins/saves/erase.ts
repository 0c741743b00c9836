import type { Context } from "../../src/context.ts";
import { deleteCollectionsOf, deleteSomeSaves } from "./erase-store.ts";

const BATCH = 500;

/** Removes what the account has saved, and its collections. What others saved of its posts goes with those posts. */
export async function eraseSaves({ db }: Pick<Context, "db">, userId: string, signal: AbortSignal): Promise<void> {
  for (let deleted = BATCH; deleted === BATCH; ) {
    signal.throwIfAborted();
    deleted = await deleteSomeSaves(db, userId, BATCH);
  }
  await deleteCollectionsOf(db, userId);
}
