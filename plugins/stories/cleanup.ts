import type { Context } from "../../src/context.ts";
import { inTransaction, type Tx } from "../../src/db/transaction.ts";
import { retireMedia } from "../media/index.ts";
import {
  countDue,
  DUE_KINDS,
  type Due,
  type DueStory,
  deleteStories,
  deleteViews,
  dueMoments,
  type Moments,
  markAllRemoved,
  type Place,
  someDue,
  takeDue,
  takeRemoved,
} from "./cleanup-store.ts";
import { storiesCleanedUp } from "./metrics.ts";

/** Stories of one transaction, which it holds for some tenths of a second. */
const BATCH = 500;
/** Views that one transaction deletes at most: a story that a million have seen is not one of minutes. */
const VIEWS = 5_000;
/** Due stories that a dry run reads at a time. */
const PAGE = 10_000;
/** What others have in hand is no more than their batches; the count of it is bounded all the same. */
const MOST_SKIPPED = 100_000;

/** Of one transaction. */
interface Cleaned {
  /** Pictures whose removal was enqueued. */
  media: number;
  /** Stories whose rows are gone. */
  stories: number;
}

export interface Cleanup {
  /** Pictures whose removal was enqueued, or would be. */
  deleted_media: number;
  /** Stories whose rows are gone, or would be. */
  deleted_records: number;
  /** Due ones that others had in hand, and that are there still. */
  skipped: number;
}

interface CleanupOptions {
  /** Milliseconds for which a story that is over stays. */
  grace: number;
  /** Stories that are taken at most. */
  limit?: number | undefined;
  signal: AbortSignal;
  /** Told of all that is done so far, after each commit that did something. */
  onProgress?: (cleanup: Readonly<Cleanup>) => void;
}

type CleanupContext = Pick<Context, "db" | "enqueueAll">;

/**
 * Removes what is due: stories that are over and not kept, those that failed, and what is left of removed ones. Rows go first, in
 * many small transactions, and a picture by a job that was enqueued with the loss of its row. So it may be ended or killed at
 * any moment and run again, also several at once, which share the work.
 */
export async function cleanUp(
  context: CleanupContext & Pick<Context, "config">,
  { grace, limit = Number.POSITIVE_INFINITY, signal, onProgress }: CleanupOptions,
): Promise<Cleanup> {
  const { db, config } = context;
  const moments = await dueMoments(db, { lifetime: config.stories.lifetime, grace });
  const cleanup: Cleanup = { deleted_media: 0, deleted_records: 0, skipped: 0 };
  const tell = ({ media, stories }: Cleaned) => {
    storiesCleanedUp.inc(stories);
    cleanup.deleted_media += media;
    cleanup.deleted_records += stories;
    onProgress?.(cleanup);
  };
  const walked = new Map<Due, Place | null>();
  // Again until nothing is found: what another had in hand may be free by now, because it was killed.
  for (let left = limit, found = -1; found !== 0 && left > 0; left -= found) {
    found = 0;
    for (const kind of DUE_KINDS) {
      const room = left - found;
      if (room <= 0) break;
      const walk = await cleanKind(context, kind, { moments, limit: room, signal, tell });
      found += walk.taken;
      walked.set(kind, walk.upTo);
    }
  }
  for (const [kind, upTo] of walked) {
    cleanup.skipped += await countDue(db, kind, { moments, upTo, most: MOST_SKIPPED });
  }
  return cleanup;
}

/** @returns how many it took, and how far it came: null where it came by all of that kind. */
async function cleanKind(
  context: CleanupContext,
  kind: Due,
  {
    moments,
    limit,
    signal,
    tell,
  }: { moments: Moments; limit: number; signal: AbortSignal; tell: (cleaned: Cleaned) => void },
): Promise<{ taken: number; upTo: Place | null }> {
  let taken = 0;
  for (let after: Place | null = null; ; ) {
    signal.throwIfAborted();
    const page = { moments, after, limit: Math.min(BATCH, limit - taken) };
    const { held, cleaned } = await inTransaction(context.db, async (tx) => {
      const held = await takeDue(tx, kind, page);
      return { held, cleaned: await cleanHeld(tx, context, held) };
    });
    if (held.length > 0) tell(cleaned);
    taken += held.length;
    if (cleaned.stories < held.length) {
      await finishRemoval(
        context,
        held.map(({ id }) => id),
        { signal, tell },
      );
    }
    after = held.at(-1) ?? null;
    if (held.length < page.limit) return { taken, upTo: null };
    if (taken >= limit) return { taken, upTo: after };
  }
}

/** Takes due stories apart that the transaction holds, and enqueues the removal of their pictures. */
async function cleanHeld(
  tx: Tx,
  context: Pick<Context, "enqueueAll">,
  held: readonly Pick<DueStory, "id" | "medium_id">[],
): Promise<Cleaned> {
  if (held.length === 0) return { media: 0, stories: 0 };
  const media = held.flatMap(({ medium_id }) => medium_id ?? []);
  await retireMedia(tx, context, media);
  const ids = held.map(({ id }) => id);
  return { media: media.length, stories: await takeApart(tx, ids) };
}

/**
 * Takes stories apart that the transaction holds: they are there for nobody from here on, VIEWS of their views go at most, and
 * the rows of those that have none left. The others are found again as removed. @returns how many rows are gone.
 */
export async function takeApart(tx: Tx, ids: readonly string[]): Promise<number> {
  await markAllRemoved(tx, ids);
  await deleteViews(tx, ids, VIEWS);
  return deleteStories(tx, ids);
}

/** Removes what removed stories leave. Somebody else may have one in hand: then it is theirs. */
export async function finishRemoval(
  context: CleanupContext,
  storyIds: readonly string[],
  { signal, tell }: { signal: AbortSignal; tell?: (cleaned: Cleaned) => void },
): Promise<void> {
  // Also after fewer than VIEWS: one that a reaction changed meanwhile was passed by.
  for (let left = true; left; ) {
    signal.throwIfAborted();
    const { held, cleaned } = await inTransaction(context.db, async (tx) => {
      const held = await takeRemoved(tx, storyIds);
      return { held, cleaned: await cleanHeld(tx, context, held) };
    });
    if (held.length > 0) tell?.(cleaned);
    left = cleaned.stories < held.length;
  }
}

/** What a cleanup would do now. It takes nothing in hand, so it skips none. */
export async function rehearseCleanup(
  { db, config }: Pick<Context, "db" | "config">,
  { grace, limit = Number.POSITIVE_INFINITY, signal, onProgress }: CleanupOptions,
): Promise<Cleanup> {
  const moments = await dueMoments(db, { lifetime: config.stories.lifetime, grace });
  const cleanup: Cleanup = { deleted_media: 0, deleted_records: 0, skipped: 0 };
  for (const kind of DUE_KINDS) {
    for (let after: Place | null | undefined = null; after !== undefined && cleanup.deleted_records < limit; ) {
      signal.throwIfAborted();
      const page = { moments, after, limit: Math.min(PAGE, limit - cleanup.deleted_records) };
      const due = await someDue(db, kind, page);
      cleanup.deleted_records += due.length;
      cleanup.deleted_media += due.filter(({ medium_id }) => medium_id !== null).length;
      if (due.length > 0) onProgress?.(cleanup);
      after = due.at(-1);
    }
  }
  return cleanup;
}
