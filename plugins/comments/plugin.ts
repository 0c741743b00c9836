import type { Feature } from "../../src/feature.ts";
import { removeCommentsJob, sweepCommentsJob } from "./jobs.ts";

export const comments: Feature = {
  name: "comments",
  summary: "comments, replies and likes on them",
  requires: ["tickets", "accounts", "graph", "media", "posts"],
  plugin: async (app, context) => (await import("./routes.ts")).commentRoutes(app, context),
  jobs: [removeCommentsJob, sweepCommentsJob],
  on: {
    "post.deleted": async (tx, { post_id }, context) =>
      (await import("./removal.ts")).removeOfPostLater(tx, context, post_id),
  },
  async *takeout(context, userId) {
    yield* (await import("./takeout.ts")).commentsTakeout(context, userId);
  },
  erase: async (...account) => (await import("./erase.ts")).eraseComments(...account),
  counters: async () => (await import("./counters.ts")).commentCounters,
};
