import type { Context } from "../../src/context.ts";
import type { Tx } from "../../src/db/transaction.ts";
import type { EventHandlers } from "../../src/events.ts";

/** What becomes of their pictures. */
export const settling: EventHandlers<Context> = {
  "media.ready": async (tx, { medium_id }, context) =>
    (await import("./stories.ts")).settleStory(tx, context, medium_id, null),
  "media.failed": async (tx, { medium_id, ...failure }, context) =>
    (await import("./stories.ts")).settleStory(tx, context, medium_id, failure),
};

/** What of trays, and of who has seen a story, Redis must forget; told also by servers in which stories are off. */
export const forgetting: EventHandlers<Context> = {
  "story.published": (tx, { author_id }, context) => traysChanged(tx, context, [author_id]),
  "story.removed": async (tx, { story_id, author_id }, context) => {
    await (await import("./seen.ts")).dropSeen(tx, context, story_id);
    await storiesGone(tx, context, author_id);
  },
  "story_audience.changed": async (tx, { owner_id, viewer_id, erased }, context) => {
    if (erased) return;
    await seenChanged(tx, context, [owner_id]);
    await traysChanged(tx, context, [viewer_id]);
  },

  "follow.started": (tx, { follower_id }, context) => traysChanged(tx, context, [follower_id]),
  "follow.ended": async (tx, { follower_id, following_id, erased }, context) => {
    if (erased) return;
    await seenChanged(tx, context, [following_id], { privateOnly: true });
    await traysChanged(tx, context, [follower_id]);
  },
  "account.blocked": async (tx, { blocker_id, blocked_id }, context) => {
    await seenChanged(tx, context, [blocker_id, blocked_id]);
    await traysChanged(tx, context, [blocker_id, blocked_id]);
  },
  "account.muted": (tx, { muter_id }, context) => traysChanged(tx, context, [muter_id]),
  "account.unmuted": async (tx, { muter_id, erased }, context) => {
    if (!erased) await traysChanged(tx, context, [muter_id]);
  },

  "account.went_private": (tx, { user_id }, context) => seenChanged(tx, context, [user_id]),
  "account.suspended": accountGone,
  "account.deleting": accountGone,
};

async function accountGone(tx: Tx, { user_id }: { user_id: string }, context: Context): Promise<void> {
  await seenChanged(tx, context, [user_id]);
  await storiesGone(tx, context, user_id);
}

/** What is in these viewers' trays is another from this transaction on. */
async function traysChanged(tx: Tx, context: Context, viewerIds: readonly string[]): Promise<void> {
  await (await import("./tray-cache.ts")).dropTrays(tx, context, viewerIds);
}

/** Stories of this author are in nobody's tray from this transaction on. */
async function storiesGone(tx: Tx, context: Context, authorId: string): Promise<void> {
  await (await import("./tray-cache.ts")).markGone(tx, context, authorId);
}

/** Who of these authors' viewers may not see their stories any more is not known to Redis. */
async function seenChanged(
  tx: Tx,
  context: Context,
  authorIds: readonly string[],
  options: { privateOnly?: boolean } = {},
): Promise<void> {
  await (await import("./seen.ts")).dropSeenOf(tx, context, authorIds, options);
}
