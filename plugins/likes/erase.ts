import type { Context } from "../../src/context.ts";
import { inTransaction } from "../../src/db/transaction.ts";
import { rollUp } from "./roll-up.ts";
import { deleteSomeLikes } from "./store.ts";

const BATCH = 500;

/**
 * Takes all likes of the account back, and rolls the log up, which names it too. Likes of its posts go with those posts.
 */
export async function eraseLikes(
  context: Pick<Context, "db" | "emit">,
  userId: string,
  signal: AbortSignal,
): Promise<void> {
  for (let deleted = BATCH; deleted === BATCH; ) {
    signal.throwIfAborted();
    deleted = await inTransaction(context.db, (tx) => deleteSomeLikes(tx, userId, BATCH));
  }
  await rollUp(context, signal);
}
