import type { Feature } from "../../src/feature.ts";

export const posts: Feature = {
  name: "posts",
  summary: "posts, captions and an author's grid",
  core: true,
  requires: ["accounts", "graph", "media"],
  plugin: async (app, context) => (await import("./routes.ts")).postRoutes(app, context),
  on: {
    "media.ready": async (tx, { medium_id }, context) =>
      (await import("./posts.ts")).settlePost(tx, context, medium_id),
    "media.failed": async (tx, { medium_id }, context) =>
      (await import("./posts.ts")).settlePost(tx, context, medium_id),
  },
};
