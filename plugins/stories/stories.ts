import { validate as isUuid, v7 as newId } from "uuid";
import type { Context } from "../../src/context.ts";
import { type Db, inTransaction, type Tx } from "../../src/db/transaction.ts";
import { keepAnswer } from "../../src/http/idempotency.ts";
import { lockAccounts, requireActive } from "../accounts/index.ts";
import { createMedia, discardOriginals, removeMedia, storeOriginals, type Upload } from "../media/index.ts";
import { notYourStory, storyNotFound } from "./errors.ts";
import { storiesCreated } from "./metrics.ts";
import {
  type Audience,
  findOwn,
  findStory,
  insertStory,
  lockStory,
  lockStoryOfMedium,
  markFailed,
  markPublished,
  markRemoved,
  type StoryRow,
} from "./store.ts";

declare module "../../src/events.ts" {
  interface Events {
    "story.published": { story_id: string; author_id: string; published_at: Date; expires_at: Date };
    /**
     * A published one: nobody finds it any more, before its time. The emitter holds the author's account. Of changes of who
     * sees an author's stories, Redis remembers one: so two are never under way at once.
     */
    "story.removed": { story_id: string; author_id: string };
  }
}

/**
 * Makes a story of an upload: the original first, then rows and job in one transaction. When this resolves, all of it is
 * durable; when it rejects, there is no story. Its time begins when it is published.
 */
export async function createStory(
  context: Context,
  authorId: string,
  {
    pictures,
    alt_text,
    audience,
    duration,
  }: { pictures: Upload["pictures"]; alt_text: string | null; audience: Audience; duration: number | null },
): Promise<{ story_id: string; status: "processing" }> {
  const id = newId();
  const answer = { story_id: id, status: "processing" } as const;
  const originals = await storeOriginals(context, pictures);
  try {
    await inTransaction(context.db, async (tx) => {
      await requireActive(tx, authorId);
      await createMedia(tx, context, { originals, owner_id: authorId, purpose: "story", alt_texts: [alt_text] });
      const medium_id = originals[0]?.id ?? "";
      await insertStory(tx, { id, user_id: authorId, medium_id, audience, duration });
      await keepAnswer(tx, 202, answer);
    });
  } catch (error) {
    await discardOriginals(context, originals);
    throw error;
  }
  storiesCreated.inc();
  return answer;
}

/** @throws 404 for a story that is not there, over, or not for the viewer. */
export async function requireStory(db: Db, viewerId: string, id: string): Promise<StoryRow> {
  const story = isUuid(id) ? await findStory(db, viewerId, id) : undefined;
  if (!story) throw storyNotFound({});
  return story;
}

/** @throws 404 as above, 403 for another's story. */
export async function requireOwnStory(db: Db, viewerId: string, id: string) {
  const own = isUuid(id) ? await findOwn(db, viewerId, id) : undefined;
  if (own) return own;
  await requireStory(db, viewerId, id);
  throw notYourStory({});
}

/** Removes the story for everybody at once, in any state, also from the archive; what it leaves goes by jobs. @throws 404, 403. */
export async function removeStory(
  context: Pick<Context, "db" | "emit" | "enqueue">,
  viewerId: string,
  id: string,
): Promise<void> {
  const { medium_id } = await requireOwnStory(context.db, viewerId, id);
  await inTransaction(context.db, async (tx) => {
    // The medium, then the story: the order in which publishing takes them.
    await removeMedia(tx, context, [medium_id]);
    const story = await lockStory(tx, id);
    if (!story) throw storyNotFound({});
    await markRemoved(tx, id);
    await context.enqueue(tx, "stories.remove", { story_id: id });
    if (story.status !== "published") return;
    await lockAccounts(tx, [viewerId]);
    await context.emit(tx, "story.removed", { story_id: id, author_id: viewerId });
  });
}

/** Brings the story of a medium in step with it. One that was published stays so, and keeps its time. */
export async function settleStory(
  tx: Tx,
  context: Pick<Context, "config" | "emit">,
  mediumId: string,
  failure: { code: string; message: string } | null,
): Promise<void> {
  const story = await lockStoryOfMedium(tx, mediumId);
  if (story?.status !== "processing" && story?.status !== "failed") return;
  if (failure !== null) return markFailed(tx, story.id, failure);
  // Behind the lock of its author's account: what decides who sees it, a block say, is told of it or comes before it.
  await lockAccounts(tx, [story.user_id]);
  const times = await markPublished(tx, story.id, context.config.stories.lifetime);
  await context.emit(tx, "story.published", { story_id: story.id, author_id: story.user_id, ...times });
}
