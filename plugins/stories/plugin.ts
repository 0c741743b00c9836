import type { Feature } from "../../src/feature.ts";
import { removeStoryJob } from "./jobs.ts";

export const stories: Feature = {
  name: "stories",
  summary: "pictures that are there for a day, and who has seen them",
  requires: ["tickets", "accounts", "graph", "media"],
  async plugin(app, context) {
    await (await import("./routes.ts")).storyRoutes(app, context);
    await (await import("./archive-routes.ts")).archiveRoutes(app, context);
    await (await import("./highlight-routes.ts")).highlightRoutes(app, context);
  },
  async *takeout(context, userId) {
    yield* (await import("./takeout.ts")).storiesTakeout(context, userId);
  },
  erase: async (...account) => (await import("./erase.ts")).eraseStories(...account),
  jobs: [removeStoryJob],
  on: {
    "media.ready": async (tx, { medium_id }, context) =>
      (await import("./stories.ts")).settleStory(tx, context, medium_id, null),
    "media.failed": async (tx, { medium_id, ...failure }, context) =>
      (await import("./stories.ts")).settleStory(tx, context, medium_id, failure),
  },
};
