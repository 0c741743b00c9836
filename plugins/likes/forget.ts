import type { Context } from "../../src/context.ts";
import { type Db, inTransaction, type Tx } from "../../src/db/transaction.ts";
import { forgetDelay, forgetPost } from "../posts/index.ts";
import { deleteLogOf } from "./log-store.ts";

interface RemovedPost {
  post_id: string;
  author_id: string;
}

/** In the transaction that deletes a post. A like that still saw it may be made after that, so this is not done at once. */
export async function forgetLater(
  tx: Tx,
  context: Pick<Context, "config" | "enqueue">,
  { post_id, author_id }: RemovedPost,
): Promise<void> {
  await context.enqueue(tx, "likes.forget", { post_id, author_id }, { delaySeconds: forgetDelay(context) });
}

/** Removes the likes of a post that is gone, and what was counted of them. May be ended at any moment and run again. */
export async function forgetLikes(db: Db, { post_id, author_id }: RemovedPost, signal: AbortSignal): Promise<void> {
  await forgetPost(db, { table: "likes", postId: post_id, signal });
  await inTransaction(db, (tx) => deleteLogOf(tx, { postId: post_id, authorId: author_id }));
}
