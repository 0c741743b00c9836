import type { Context } from "../../src/context.ts";
import { inTransaction } from "../../src/db/transaction.ts";
import { addToCounter } from "../accounts/index.ts";
import { hotPosts } from "./hot-posts.ts";
import { deletePosts, lockSomePosts } from "./store.ts";

const BATCH = 100;

/**
 * Removes every post of the account, also those that are being processed or have failed. Their media are left to the
 * erasing of media, which comes next: nobody sees them meanwhile, for the account is being deleted, and a picture that
 * is ready only now finds no post to publish. So no job a picture is needed.
 */
export async function erasePosts(
  context: Pick<Context, "db" | "emit" | "redis" | "notices" | "bulkhead">,
  userId: string,
  signal: AbortSignal,
): Promise<void> {
  for (let left = true; left; ) {
    signal.throwIfAborted();
    left = await inTransaction(context.db, async (tx) => {
      const posts = await lockSomePosts(tx, userId, BATCH);
      if (posts.length === 0) return false;
      const published = posts.flatMap(({ id, published_at }) => (published_at ? { id, published_at } : []));
      await deletePosts(
        tx,
        posts.map(({ id }) => id),
      );
      await addToCounter(tx, userId, "post_count", -published.length);
      for (const { id } of posts) await context.emit(tx, "post.removed", { post_id: id, author_id: userId });
      for (const { id, published_at } of published) {
        await hotPosts(context).drop(tx, id);
        await context.emit(tx, "post.deleted", { post_id: id, author_id: userId, published_at });
      }
      return true;
    });
  }
}
