import type { Feature } from "../../src/feature.ts";
import { TagsRebuild } from "./commands.ts";
import { countTagsJob } from "./jobs.ts";

export const tags: Feature = {
  name: "tags",
  summary: "posts by hashtag, and the search for hashtags",
  requires: ["tickets", "accounts", "graph", "media", "posts"],
  plugin: async (app, context) => (await import("./routes.ts")).tagRoutes(app, context),
  jobs: [countTagsJob],
  commands: { "tags:rebuild": TagsRebuild },
  counters: async () => (await import("./counters.ts")).tagCounters,
  on: {
    "post.published": async (tx, post) => {
      if (post.hashtags.length > 0) await (await import("./store.ts")).setTags(tx, post, post.hashtags);
    },
    "post.caption_changed": async (tx, post) => (await import("./store.ts")).setTags(tx, post, post.hashtags),
    "post.deleted": async (tx, post) => (await import("./store.ts")).setTags(tx, post, []),
  },
  erase: async (...account) => (await import("./erase.ts")).eraseTags(...account),
};
