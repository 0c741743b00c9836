import type { Context } from "../../src/context.ts";
import { inTransaction, type Tx } from "../../src/db/transaction.ts";
import { retireMedia } from "../media/index.ts";
import { type DueStory, deleteStories, deleteViews, markAllRemoved, takeRemoved } from "./cleanup-store.ts";

/** Views that one transaction deletes at most: a story that a million have seen is not one of minutes. */
const VIEWS = 5_000;

export interface Cleaned {
  /** Pictures whose removal was enqueued. */
  media: number;
  /** Stories whose rows are gone. */
  stories: number;
  views: number;
}

/**
 * Takes stories apart that the transaction holds: first they are there for nobody and their pictures' removal is enqueued,
 * then their views go, and their rows with the last of these. What is left is found again as removed.
 */
export async function cleanHeld(
  tx: Tx,
  context: Pick<Context, "enqueue">,
  held: readonly DueStory[],
): Promise<Cleaned> {
  if (held.length === 0) return { media: 0, stories: 0, views: 0 };
  const ids = held.map(({ id }) => id);
  const media = held.flatMap(({ medium_id }) => medium_id ?? []);
  await markAllRemoved(tx, ids);
  await retireMedia(tx, context, media);
  const views = await deleteViews(tx, ids, VIEWS);
  return { media: media.length, views, stories: await deleteStories(tx, ids) };
}

/** Removes what a deleted story leaves. Somebody else may have it in hand: then it is theirs. */
export async function finishRemoval(
  context: Pick<Context, "db" | "enqueue">,
  storyId: string,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    signal.throwIfAborted();
    const { views } = await inTransaction(context.db, async (tx) =>
      cleanHeld(tx, context, await takeRemoved(tx, storyId)),
    );
    if (views < VIEWS) return;
  }
}
