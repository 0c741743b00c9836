import type { Context } from "../../src/context.ts";
import { inTransaction } from "../../src/db/transaction.ts";
import { addToLikeCounts, deleteLikes, holdForLikes, someLikedBy } from "./like-store.ts";
import { removeRest } from "./removal.ts";
import { someWrittenBy } from "./store.ts";

const READ = 1_000;
/** Comments that one transaction holds. */
const BATCH = 100;

/** Removes the account's likes on comments, and its comments with all replies; counts are kept. */
export async function eraseComments(
  context: Pick<Context, "db" | "emit">,
  userId: string,
  signal: AbortSignal,
): Promise<void> {
  await eraseLikes(context, userId, signal);
  for (;;) {
    const ids = await someWrittenBy(context.db, userId, READ);
    if (ids.length === 0) return;
    // One by one: each takes the lock of its post's count.
    for (const id of ids) await removeRest(context, id, signal);
  }
}

async function eraseLikes(
  { db, emit }: Pick<Context, "db" | "emit">,
  userId: string,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    const ids = await someLikedBy(db, userId, READ);
    if (ids.length === 0) return;
    while (ids.length > 0) {
      signal.throwIfAborted();
      const batch = ids.splice(-BATCH);
      await inTransaction(db, async (tx) => {
        const held = await holdForLikes(tx, batch);
        const gone = new Set(await deleteLikes(tx, userId, batch));
        const liked = held.filter(({ id }) => gone.has(id));
        if (liked.length === 0) return;
        await addToLikeCounts(
          tx,
          liked.map(({ id }) => id),
          -1,
        );
        for (const { id, post_id, user_id } of liked) {
          await emit(tx, "comment.unliked", { comment_id: id, post_id, author_id: user_id, user_id: userId });
        }
      });
    }
  }
}
