import type { Context } from "../../src/context.ts";
import type { Tx } from "../../src/db/transaction.ts";
import type { Feature } from "../../src/feature.ts";
import { StoriesCleanup } from "./commands.ts";
import { cleanupJob, removeStoryJob, settleStoriesJob } from "./jobs.ts";

export const stories: Feature = {
  name: "stories",
  summary: "pictures that are there for a day, and who has seen them",
  requires: ["tickets", "accounts", "graph", "media"],
  jobs: [removeStoryJob, settleStoriesJob, cleanupJob],
  commands: { "stories:cleanup": StoriesCleanup },
  warnings: async (context) => (await import("./overdue.ts")).overdueWarnings(context),
  plugin: async (app, context) => {
    await (await import("./routes.ts")).storyRoutes(app, context);
    await (await import("./tray-routes.ts")).trayRoutes(app, context);
  },
  on: {
    "media.ready": async (tx, { medium_id }, context) =>
      (await import("./stories.ts")).settleStory(tx, context, medium_id, null),
    "media.failed": async (tx, { medium_id, ...failure }, context) =>
      (await import("./stories.ts")).settleStory(tx, context, medium_id, failure),
    "story.published": (tx, { author_id }, context) => traysChanged(tx, context, [author_id]),
    "story.removed": (tx, { author_id }, context) => storiesGone(tx, context, author_id),
    "account.suspended": (tx, { user_id }, context) => storiesGone(tx, context, user_id),
    "account.deleting": (tx, { user_id }, context) => storiesGone(tx, context, user_id),
    "follow.started": (tx, { follower_id }, context) => traysChanged(tx, context, [follower_id]),
    "follow.ended": (tx, { follower_id, erased }, context) => traysChanged(tx, context, erased ? [] : [follower_id]),
    "account.blocked": (tx, { blocker_id, blocked_id }, context) => traysChanged(tx, context, [blocker_id, blocked_id]),
    "account.muted": (tx, { muter_id }, context) => traysChanged(tx, context, [muter_id]),
    "account.unmuted": (tx, { muter_id, erased }, context) => traysChanged(tx, context, erased ? [] : [muter_id]),
    "story_audience.changed": (tx, { viewer_id, erased }, context) =>
      traysChanged(tx, context, erased ? [] : [viewer_id]),
  },
};

/** What is in these viewers' trays is another from this transaction on. */
async function traysChanged(tx: Tx, context: Context, viewerIds: readonly string[]): Promise<void> {
  if (viewerIds.length > 0) await (await import("./tray-cache.ts")).dropTrays(tx, context, viewerIds);
}

async function storiesGone(tx: Tx, context: Context, authorId: string): Promise<void> {
  await (await import("./tray-cache.ts")).markGone(tx, context, authorId);
}
