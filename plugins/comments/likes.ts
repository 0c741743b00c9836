import type { Context } from "../../src/context.ts";
import { inTransaction } from "../../src/db/transaction.ts";
import { keepAnswer } from "../../src/http/idempotency.ts";
import { requireComment } from "./comments.ts";
import { commentNotFound } from "./errors.ts";
import { addToLikeCounts, deleteLikes, holdForLikes, insertLike } from "./like-store.ts";
import type { CommentLike } from "./schemas.ts";

declare module "../../src/events.ts" {
  interface Events {
    /** `author_id` wrote the comment. */
    "comment.liked": { comment_id: string; post_id: string; author_id: string; user_id: string };
    "comment.unliked": { comment_id: string; post_id: string; author_id: string; user_id: string };
  }
}

/** Likes a comment, or takes the like back; idempotent both ways. @throws 404. */
export async function setLiked(
  { db, emit }: Pick<Context, "db" | "emit">,
  viewerId: string,
  id: string,
  liked: boolean,
): Promise<CommentLike> {
  const { id: commentId } = await requireComment(db, viewerId, id);
  return inTransaction(db, async (tx) => {
    const [comment] = await holdForLikes(tx, [commentId]);
    if (!comment) throw commentNotFound({});
    const { post_id, user_id: author_id, like_count } = comment;
    const changed = liked
      ? await insertLike(tx, viewerId, commentId)
      : (await deleteLikes(tx, viewerId, [commentId])).length > 0;
    const by = liked ? 1 : -1;
    if (changed) {
      await addToLikeCounts(tx, [commentId], by);
      const event = { comment_id: commentId, post_id, author_id, user_id: viewerId };
      await emit(tx, liked ? "comment.liked" : "comment.unliked", event);
    }
    const answer = { success: true as const, idempotent: !changed, like_count: like_count + (changed ? by : 0) };
    await keepAnswer(tx, 200, answer);
    return answer;
  });
}
