import type { Feature } from "../../src/feature.ts";
import { BenchLikes } from "./bench/commands.ts";
import { forgetLikesJob, rollUpJob } from "./jobs.ts";

export const likes: Feature = {
  name: "likes",
  summary: "likes of posts",
  requires: ["tickets", "accounts", "graph", "posts"],
  plugin: async (app, context) => (await import("./routes.ts")).likeRoutes(app, context),
  jobs: [rollUpJob, forgetLikesJob],
  commands: { "bench:likes": BenchLikes },
  on: {
    "post.removed": async (tx, post, context) => (await import("./forget.ts")).forgetLater(tx, context, post),
    "notifications.asked": async (tx, { user_id }, context) =>
      (await import("./roll-up.ts")).rollUpOf(tx, context, user_id),
  },
  counters: async () => (await import("./counters.ts")).likeCounters,
  async *takeout(context, userId) {
    yield* (await import("./takeout.ts")).likesTakeout(context, userId);
  },
  erase: async (...account) => (await import("./erase.ts")).eraseLikes(...account),
};
