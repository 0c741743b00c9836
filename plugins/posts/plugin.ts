import type { Feature } from "../../src/feature.ts";
import { failPost, publishWhenReady } from "./posts.ts";
import { postRoutes } from "./routes.ts";

export const posts: Feature = {
  name: "posts",
  summary: "posts, captions and an author's grid",
  core: true,
  requires: ["accounts", "graph", "media"],
  plugin: postRoutes,
  on: {
    "media.ready": (tx, { medium_id }, context) => publishWhenReady(tx, context, medium_id),
    "media.failed": (tx, { medium_id, code, message }) => failPost(tx, medium_id, { code, message }),
  },
};
