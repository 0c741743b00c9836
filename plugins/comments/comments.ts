import { validate as isUuid, v7 as newId } from "uuid";
import type { Context } from "../../src/context.ts";
import { type Db, inTransaction, type Tx } from "../../src/db/transaction.ts";
import { keepAnswer } from "../../src/http/idempotency.ts";
import { requireActive } from "../accounts/index.ts";
import { mentionedIds, parseEntities, resolveEntities } from "../entities/index.ts";
import { hotEngagement, postNotFound, postNotPublished, requirePost } from "../posts/index.ts";
import { mediaUrls } from "../tickets/index.ts";
import { commentEmpty, commentNotFound, commentsClosed, notYourComment } from "./errors.ts";
import { type CommentRow, findComment, findOnPostsOf } from "./list-store.ts";
import { commentsTotal } from "./metrics.ts";
import { removeComment } from "./removal.ts";
import { type Comment, toComment } from "./schemas.ts";
import { countComment, countReply, holdPost, insertComment } from "./store.ts";

declare module "../../src/events.ts" {
  interface Events {
    /** `parent_author_id` is whom a reply is to: the author of the comment that it hangs below. */
    "comment.created": {
      comment_id: string;
      post_id: string;
      post_author_id: string;
      author_id: string;
      parent_id: string | null;
      parent_author_id: string | null;
      created_at: Date;
    };
  }
}

/** @throws 404 for a comment that is not there or not for the viewer's eyes. */
export async function requireComment(db: Db, viewerId: string, id: string): Promise<CommentRow> {
  const comment = isUuid(id) ? await findComment(db, viewerId, id) : undefined;
  if (!comment) throw commentNotFound({});
  return comment;
}

/**
 * Comments on a post that the viewer may see. A reply to a reply becomes one to what that replies to.
 * @returns what is answered, stored for repeats of the request in the same transaction.
 * @throws 404 for the post or the comment replied to, 403 where the author has closed the comments, 409 for one's own post
 * before it is published, 422 for a text that says nothing or too much.
 */
export async function createComment(
  context: Context,
  viewerId: string,
  id: string,
  { text, parent_id }: { text: string; parent_id: string | null },
): Promise<Comment> {
  const { db, emit } = context;
  const { id: postId } = await requirePost(db, viewerId, id);
  if (text.trim() === "") throw commentEmpty({});
  const parsed = parseEntities(text);
  const repliedTo = parent_id === null ? null : await requireComment(db, viewerId, parent_id);
  if (repliedTo && repliedTo.post_id !== postId) throw commentNotFound({});
  const parentId = repliedTo && (repliedTo.parent_id ?? repliedTo.id);
  const urls = await mediaUrls(context, viewerId);
  const commentId = newId();

  const work = async (tx: Tx) => {
    const post = await holdPost(tx, postId);
    if (!post) throw postNotFound({});
    if (post.status !== "published") throw postNotPublished({}, { retryAfter: 2 });
    if (post.comments_closed) throw commentsClosed({});
    await requireActive(tx, viewerId);
    const entities = await resolveEntities(tx, viewerId, parsed);
    await countComment(tx, postId);
    const parentAuthorId = parentId === null ? null : await countReply(tx, parentId);
    if (parentAuthorId === undefined) throw commentNotFound({});
    const comment = { id: commentId, post_id: postId, user_id: viewerId, parent_id: parentId, text, entities };
    const created_at = await insertComment(tx, comment);
    // By the rule that every reader goes by: who was blocked meanwhile finds nothing and has written nothing.
    const row = await findComment(tx, viewerId, commentId);
    if (!row) throw postNotFound({});
    const ids = { comment_id: commentId, post_id: postId, author_id: viewerId };
    await emit(tx, "comment.created", {
      ...ids,
      post_author_id: post.user_id,
      parent_id: parentId,
      parent_author_id: parentAuthorId,
      created_at,
    });
    const added = mentionedIds(entities).filter((userId) => userId !== viewerId);
    if (added.length > 0) await emit(tx, "mentions.changed", { ...ids, added, removed: [] });
    const answer = toComment(row, urls);
    await keepAnswer(tx, 201, answer);
    return answer;
  };
  const comment = await inTransaction(db, work);
  commentsTotal.inc({ action: "create" });
  hotEngagement(context).forget(postId);
  return comment;
}

async function requireOwnComment(db: Db, viewerId: string, id: string): Promise<CommentRow> {
  const comment = await requireComment(db, viewerId, id);
  if (comment.author.id !== viewerId) throw notYourComment({});
  return comment;
}

/**
 * Deletes a comment with its replies, for everybody at once; rows of very many go by a job. Whose post it is on may do it
 * also where they are not shown it: others see what somebody writes there whom they block.
 * @throws 404, and 403 for whoever neither wrote it nor has the post.
 */
export async function deleteComment(context: Context, viewerId: string, id: string): Promise<void> {
  const comment =
    (isUuid(id) && (await findOnPostsOf(context.db, viewerId, id))) ||
    (await requireOwnComment(context.db, viewerId, id));
  await inTransaction(context.db, async (tx) => {
    const removal = await removeComment(tx, context, comment.id);
    if (!removal?.counted) throw commentNotFound({});
    if (!removal.done) await context.enqueue(tx, "comments.remove", { comment_id: comment.id });
  });
  commentsTotal.inc({ action: "delete" });
  hotEngagement(context).forget(comment.post_id);
}
