import type { Context } from "../../src/context.ts";
import { inTransaction, type Tx } from "../../src/db/transaction.ts";
import {
  deleteComments,
  deleteCount,
  deleteSomeLikes,
  hasComments,
  lockComments,
  lockCount,
  lockSomeOfPost,
  lockSomeReplies,
  markRemoved,
  placeOf,
  uncountComments,
  uncountReply,
  unfinishedRemovals,
} from "./store.ts";

declare module "../../src/events.ts" {
  interface Events {
    /**
     * A comment with its replies is there for nobody any more. Where they are more than one transaction removes, they are
     * told by and by; no id twice, but for the comment's own.
     */
    "comments.deleted": { post_id: string; comment_ids: string[] };
  }
}

type RemovalContext = Pick<Context, "db" | "emit">;

/** Comments, and likes on them, of one transaction: while it lasts nobody else comments on that post. */
const BATCH = 500;
const MOST_LIKES = 2_000;
/** Removals that one sweep resumes. */
const RESUMED = 1_000;

/** What one transaction did to a comment that is to go. */
interface Removal {
  /** It was there for others until now. */
  counted: boolean;
  /** Nothing of it is left. */
  done: boolean;
}

/**
 * Takes a comment out of the counts and away from everybody, with its replies, and removes as much of it as one
 * transaction may; it is marked until the rest has gone. To be repeated until that is done: then it only removes.
 * @returns null when it is gone already.
 */
export async function removeComment(tx: Tx, { emit }: Pick<Context, "emit">, id: string): Promise<Removal | null> {
  const place = await placeOf(tx, id);
  if (!place) return null;
  const { post_id, parent_id } = place;
  await lockCount(tx, post_id);
  const locked = await lockComments(tx, parent_id === null ? [id] : [id, parent_id]);
  const comment = locked.find((one) => one.id === id);
  if (!comment) return null;
  const parent = locked.find((one) => one.id === parent_id);
  const counted = comment.removed_at === null && !parent?.removed_at;
  if (counted) {
    await uncountComments(tx, post_id, 1 + comment.reply_count);
    if (parent_id !== null) await uncountReply(tx, parent_id);
  }
  const { gone, done } = await removeSome(tx, [id]);
  if (!done) await markRemoved(tx, id);
  const comment_ids = [...new Set(counted ? [id, ...gone] : gone)];
  if (comment_ids.length > 0) await emit(tx, "comments.deleted", { post_id, comment_ids });
  return { counted, done };
}

/** Goes on until nothing is left of the comment. */
export async function removeRest(context: RemovalContext, id: string, signal: AbortSignal): Promise<void> {
  for (let done = false; !done; ) {
    signal.throwIfAborted();
    const removal = await inTransaction(context.db, (tx) => removeComment(tx, context, id));
    done = removal === null || removal.done;
  }
}

/**
 * Comments of a deleted post are there for nobody, since every read joins the post; the job removes the rows. It begins
 * after this transaction, which holds the post against new comments, and so finds all there will ever be.
 */
export async function removeOfPostLater(tx: Tx, { enqueue }: Pick<Context, "enqueue">, postId: string): Promise<void> {
  if (await hasComments(tx, postId)) await enqueue(tx, "comments.remove", { post_id: postId });
  else await deleteCount(tx, postId);
}

/** Of a post that is gone. */
export async function removeRestOfPost(context: RemovalContext, postId: string, signal: AbortSignal): Promise<void> {
  for (let left = true; left; ) {
    signal.throwIfAborted();
    left = await inTransaction(context.db, async (tx) => {
      await lockCount(tx, postId);
      const roots = await lockSomeOfPost(tx, postId, BATCH);
      if (roots.length === 0) {
        await deleteCount(tx, postId);
        return false;
      }
      const { gone } = await removeSome(tx, roots);
      if (gone.length > 0) await context.emit(tx, "comments.deleted", { post_id: postId, comment_ids: gone });
      return true;
    });
  }
}

/** @returns of how many comments and posts the removal goes on; further ones are the next sweep's. */
export async function resumeRemovals({ db, enqueue }: Pick<Context, "db" | "enqueue">): Promise<number> {
  const { comments, posts } = await unfinishedRemovals(db, RESUMED);
  await inTransaction(db, async (tx) => {
    for (const comment_id of comments) await enqueue(tx, "comments.remove", { comment_id });
    for (const post_id of posts) await enqueue(tx, "comments.remove", { post_id });
  });
  return comments.length + posts.length;
}

/** Removes some replies of these locked comments and, with the last of them, the comments. Likes go first. */
async function removeSome(tx: Tx, roots: readonly string[]): Promise<{ gone: string[]; done: boolean }> {
  const replies = await lockSomeReplies(tx, roots, BATCH);
  const last = replies.length < BATCH;
  const batch = last ? [...replies, ...roots] : replies;
  if ((await deleteSomeLikes(tx, batch, MOST_LIKES)) === MOST_LIKES) return { gone: [], done: false };
  await deleteComments(tx, batch);
  return { gone: batch, done: last };
}
