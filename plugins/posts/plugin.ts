import type { Feature } from "../../src/feature.ts";

export const posts: Feature = {
  name: "posts",
  summary: "posts, captions and an author's grid",
  core: true,
  requires: ["tickets", "accounts", "graph", "media"],
  plugin: async (app, context) => (await import("./routes.ts")).postRoutes(app, context),
  async *takeout(context, userId) {
    yield* (await import("./takeout.ts")).postsTakeout(context, userId);
  },
  counters: async () => (await import("./counters.ts")).postCounters,
  erase: async (...account) => (await import("./erase.ts")).erasePosts(...account),
  on: {
    "media.ready": async (tx, { medium_id }, context) =>
      (await import("./posts.ts")).settlePost(tx, context, medium_id),
    "media.failed": async (tx, { medium_id }, context) =>
      (await import("./posts.ts")).settlePost(tx, context, medium_id),
  },
};
