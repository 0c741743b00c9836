import { validate as isUuid, v7 as newId } from "uuid";
import type { Context } from "../../src/context.ts";
import { type Db, inTransaction, type Tx } from "../../src/db/transaction.ts";
import { keepAnswer } from "../../src/http/idempotency.ts";
import { addToCounter, requireActive } from "../accounts/index.ts";
import { hashtagsOf, parseEntities, resolveEntities } from "../entities/index.ts";
import { createMedia, discardOriginals, removeMedia, storeOriginals, type Upload } from "../media/index.ts";
import { announceCaption, othersIn } from "./captions.ts";
import { notYourPost, postNotFound } from "./errors.ts";
import { hotPosts } from "./hot-posts.ts";
import { postsCreated } from "./metrics.ts";
import {
  deletePost,
  insertPost,
  lockPost,
  markFailed,
  markProcessing,
  markPublished,
  mediaOfPost,
  type PostRow,
  postIdOfMedium,
  postsByIds,
  updatePost,
} from "./store.ts";

declare module "../../src/events.ts" {
  interface Events {
    /** `hashtags` are those of its caption, each once, as they are looked up. */
    "post.published": { post_id: string; author_id: string; published_at: Date; hashtags: string[] };
    /** Of a published one. */
    "post.caption_changed": { post_id: string; author_id: string; published_at: Date; hashtags: string[] };
    "post.deleted": { post_id: string; author_id: string; published_at: Date };
    /** Any post, published or not: nobody finds it any more. */
    "post.removed": { post_id: string; author_id: string };
  }
}

/**
 * Makes a post of an upload: originals first, then rows and jobs in one transaction. When this resolves, all of it is
 * durable; when it rejects, there is no post.
 * @returns the answer; the post is being processed.
 */
export async function createPost(
  context: Context,
  authorId: string,
  upload: { pictures: Upload["pictures"]; caption: string | null; altTexts: readonly (string | null)[] },
): Promise<{ post_id: string; status: "processing" }> {
  const id = newId();
  const parsed = parseEntities(upload.caption ?? "");
  const answer = { post_id: id, status: "processing" } as const;
  const originals = await storeOriginals(context, upload.pictures);
  try {
    await inTransaction(context.db, async (tx) => {
      await requireActive(tx, authorId);
      await createMedia(tx, context, { originals, owner_id: authorId, purpose: "post", alt_texts: upload.altTexts });
      await insertPost(
        tx,
        { id, user_id: authorId, caption: upload.caption, entities: await resolveEntities(tx, authorId, parsed) },
        originals.map((original) => original.id),
      );
      await keepAnswer(tx, 202, answer);
    });
  } catch (error) {
    await discardOriginals(context, originals);
    throw error;
  }
  postsCreated.inc();
  return answer;
}

/** @throws 404 for a post that is not there or not for the viewer's eyes. */
export async function requirePost(db: Db, viewerId: string, id: string): Promise<PostRow> {
  const [post] = isUuid(id) ? await postsByIds(db, viewerId, [id]) : [];
  if (!post) throw postNotFound({});
  return post;
}

/** @throws 404 as above, 403 for another's post. */
export async function editPost(
  context: Context,
  viewerId: string,
  id: string,
  { caption, comments_closed }: { caption?: string | null; comments_closed?: boolean },
): Promise<PostRow> {
  await requireOwnPost(context.db, viewerId, id);
  const parsed = parseEntities(caption ?? "");
  await inTransaction(context.db, async (tx) => {
    const post = await lockPost(tx, id);
    if (!post) throw postNotFound({});
    if (comments_closed !== undefined) await updatePost(tx, id, { comments_closed });
    if (caption !== undefined) {
      const entities = await resolveEntities(tx, viewerId, parsed);
      await updatePost(tx, id, { caption, caption_entities: JSON.stringify(entities) });
      await announceCaption(tx, context, { id, ...post }, entities);
    }
    await hotPosts(context).drop(tx, id);
  });
  hotPosts(context).forget(id);
  return requirePost(context.db, viewerId, id);
}

/** Removes the post for everybody at once; its objects go by jobs. @throws 404, 403. */
export async function removePost(context: Context, viewerId: string, id: string): Promise<void> {
  await requireOwnPost(context.db, viewerId, id);
  await inTransaction(context.db, async (tx) => {
    // Media, then the post, then the account: the order in which publishing takes them.
    const media = await mediaOfPost(tx, id);
    await removeMedia(
      tx,
      context,
      media.map((medium) => medium.id),
    );
    const post = await lockPost(tx, id);
    if (!post) throw postNotFound({});
    await deletePost(tx, id);
    await context.emit(tx, "post.removed", { post_id: id, author_id: viewerId });
    if (post.published_at === null) return;
    await addToCounter(tx, viewerId, "post_count", -1);
    await hotPosts(context).drop(tx, id);
    await context.emit(tx, "post.deleted", { post_id: id, author_id: viewerId, published_at: post.published_at });
  });
  hotPosts(context).forget(id);
}

/**
 * Brings the post of a medium in step with its media: failed as long as one of them has failed, with the reason of the
 * first; published once all are ready. A published post stays published.
 */
export async function settlePost(tx: Tx, context: Context, mediumId: string): Promise<void> {
  const postId = await postIdOfMedium(tx, mediumId);
  const post = postId && (await lockPost(tx, postId));
  if (!postId || !post) return;
  if (post.status === "published") {
    // It was processed anew, and may look another.
    await hotPosts(context).drop(tx, postId);
    return;
  }
  // Read after the lock: of two media that are done at once, whoever holds it second sees both.
  const media = await mediaOfPost(tx, postId);
  const failed = media.find((medium) => medium.state === "failed");
  if (failed) {
    await markFailed(tx, postId, { code: failed.failure_code ?? "", message: failed.failure_message ?? "" });
  } else if (media.every((medium) => medium.state === "ready")) {
    // The account first: who waits for its row must not hold a time of publication that is passing by.
    await addToCounter(tx, post.user_id, "post_count", 1);
    const published_at = await markPublished(tx, postId);
    const event = { post_id: postId, author_id: post.user_id };
    const hashtags = hashtagsOf(post.caption_entities);
    await context.emit(tx, "post.published", { ...event, published_at, hashtags });
    const added = othersIn(post.caption_entities, post.user_id);
    if (added.length > 0)
      await context.emit(tx, "mentions.changed", { ...event, comment_id: null, added, removed: [] });
  } else {
    await markProcessing(tx, postId);
  }
}

async function requireOwnPost(db: Db, viewerId: string, id: string): Promise<void> {
  const post = await requirePost(db, viewerId, id);
  if (post.author.id !== viewerId) throw notYourPost({});
}
