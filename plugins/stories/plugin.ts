import type { Context } from "../../src/context.ts";
import type { Tx } from "../../src/db/transaction.ts";
import type { Feature } from "../../src/feature.ts";
import { BenchStories } from "./bench/commands.ts";
import { removeStoryJob } from "./jobs.ts";

export const stories: Feature = {
  name: "stories",
  summary: "pictures that are there for a day, and who has seen them",
  requires: ["tickets", "accounts", "graph", "media"],
  plugin: async (app, context) => {
    await (await import("./routes.ts")).storyRoutes(app, context);
    await (await import("./view-routes.ts")).storyViewRoutes(app, context);
  },
  off: async ({ db }) => {
    await (await import("../../src/redis/epoch.ts")).forgetRedis(db);
  },
  jobs: [removeStoryJob],
  commands: { "bench:stories": BenchStories },
  on: {
    "media.ready": async (tx, { medium_id }, context) =>
      (await import("./stories.ts")).settleStory(tx, context, medium_id, null),
    "media.failed": async (tx, { medium_id, ...failure }, context) =>
      (await import("./stories.ts")).settleStory(tx, context, medium_id, failure),
    "story.removed": async (tx, story, context) => (await import("./seen.ts")).dropSeen(tx, context, story),
    "account.blocked": (tx, { blocker_id, blocked_id }, context) => dropSeenOf(tx, context, [blocker_id, blocked_id]),
    "account.went_private": (tx, { user_id }, context) => dropSeenOf(tx, context, [user_id]),
    "account.suspended": (tx, { user_id }, context) => dropSeenOf(tx, context, [user_id]),
    "account.deleting": (tx, { user_id }, context) => dropSeenOf(tx, context, [user_id]),
    "story_audience.changed": (tx, { owner_id, erased }, context) => dropSeenOf(tx, context, erased ? [] : [owner_id]),
    "follow.ended": (tx, { following_id, erased }, context) =>
      dropSeenOf(tx, context, erased ? [] : [following_id], { privateOnly: true }),
  },
  counters: async () => (await import("./counters.ts")).storyCounters,
};

/** Who of these authors' viewers may not see their stories any more is not known to Redis. */
async function dropSeenOf(
  tx: Tx,
  context: Context,
  authorIds: readonly string[],
  options: { privateOnly?: boolean } = {},
): Promise<void> {
  if (authorIds.length > 0) await (await import("./seen.ts")).dropSeenOf(tx, context, authorIds, options);
}
