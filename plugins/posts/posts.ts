import { validate as isUuid, v7 as newId } from "uuid";
import type { Context } from "../../src/context.ts";
import { type Db, inTransaction, type Tx } from "../../src/db/transaction.ts";
import { addToCounter } from "../accounts/index.ts";
import {
  createMedium,
  discardOriginals,
  type Failure,
  removeMedia,
  storeOriginals,
  type Upload,
} from "../media/index.ts";
import { notYourPost, postNotFound } from "./errors.ts";
import { postsCreated } from "./metrics.ts";
import {
  deletePost,
  insertPost,
  lockPost,
  markFailed,
  markPublished,
  mediaOfPost,
  type PostRow,
  postIdOfMedium,
  postsByIds,
  setCaption,
} from "./store.ts";

declare module "../../src/events.ts" {
  interface Events {
    "post.published": { post_id: string; author_id: string };
    "post.deleted": { post_id: string; author_id: string };
  }
}

/**
 * Makes a post of an upload: originals first, then rows and jobs in one transaction. When this resolves, all of it is
 * durable; when it rejects, there is no post.
 * @returns the id of the post, which is being processed.
 */
export async function createPost(
  context: Context,
  authorId: string,
  upload: { pictures: Upload["pictures"]; caption: string | null; altTexts: readonly (string | null)[] },
): Promise<string> {
  const id = newId();
  const originals = await storeOriginals(context, upload.pictures);
  try {
    await inTransaction(context.db, async (tx) => {
      for (const [index, original] of originals.entries()) {
        await createMedium(tx, context, { original, owner_id: authorId, alt_text: upload.altTexts[index] ?? null });
      }
      await insertPost(
        tx,
        { id, user_id: authorId, caption: upload.caption },
        originals.map((original) => original.id),
      );
    });
  } catch (error) {
    await discardOriginals(context, originals);
    throw error;
  }
  postsCreated.inc();
  return id;
}

/** @throws 404 for a post that is not there or not for the viewer's eyes. */
export async function requirePost(db: Db, viewerId: string, id: string): Promise<PostRow> {
  const [post] = isUuid(id) ? await postsByIds(db, viewerId, [id]) : [];
  if (!post) throw postNotFound({});
  return post;
}

/** @throws 404 as above, 403 for another's post. */
export async function editCaption(db: Db, viewerId: string, id: string, caption: string | null): Promise<PostRow> {
  await requireOwnPost(db, viewerId, id);
  await setCaption(db, id, caption);
  return requirePost(db, viewerId, id);
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
    if (post.status !== "published") return;
    await addToCounter(tx, viewerId, "post_count", -1);
    await context.emit(tx, "post.deleted", { post_id: id, author_id: viewerId });
  });
}

/** Publishes the post of a medium that became ready, if it was the last one that was waited for. */
export async function publishWhenReady(tx: Tx, { emit }: Pick<Context, "emit">, mediumId: string): Promise<void> {
  const postId = await postIdOfMedium(tx, mediumId);
  const post = postId && (await lockPost(tx, postId));
  if (!postId || !post || post.status === "published") return;
  // Read after the lock: whoever holds it second sees the other's medium ready.
  const media = await mediaOfPost(tx, postId);
  if (media.some((medium) => medium.state !== "ready")) return;
  await markPublished(tx, postId);
  await addToCounter(tx, post.user_id, "post_count", 1);
  await emit(tx, "post.published", { post_id: postId, author_id: post.user_id });
}

/** A post fails with the first of its media that fails; the author reads why. */
export async function failPost(tx: Tx, mediumId: string, failure: Failure): Promise<void> {
  const postId = await postIdOfMedium(tx, mediumId);
  const post = postId && (await lockPost(tx, postId));
  if (!postId || !post || post.status === "published") return;
  await markFailed(tx, postId, failure);
}

async function requireOwnPost(db: Db, viewerId: string, id: string): Promise<void> {
  const post = await requirePost(db, viewerId, id);
  if (post.author.id !== viewerId) throw notYourPost({});
}
