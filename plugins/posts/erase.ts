import type { Context } from "../../src/context.ts";
import { inTransaction } from "../../src/db/transaction.ts";
import { addToCounter } from "../accounts/index.ts";
import { deletePosts, lockSomePosts } from "./store.ts";

const BATCH = 100;

/**
 * Removes every post of the account, also those that are being processed or have failed. Their media are left to the
 * erasing of media, which comes next: nobody sees them meanwhile, for the account is being deleted, and a picture that
 * is ready only now finds no post to publish. So no job a picture is needed.
 */
export async function erasePosts(
  { db, emit }: Pick<Context, "db" | "emit">,
  userId: string,
  signal: AbortSignal,
): Promise<void> {
  for (let left = true; left; ) {
    signal.throwIfAborted();
    left = await inTransaction(db, async (tx) => {
      const posts = await lockSomePosts(tx, userId, BATCH);
      if (posts.length === 0) return false;
      const published = posts.filter(({ status }) => status === "published");
      await deletePosts(
        tx,
        posts.map(({ id }) => id),
      );
      await addToCounter(tx, userId, "post_count", -published.length);
      for (const { id } of published) await emit(tx, "post.deleted", { post_id: id, author_id: userId });
      return true;
    });
  }
}
