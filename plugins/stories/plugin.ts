import type { Feature } from "../../src/feature.ts";
import { StoriesCleanup } from "./commands.ts";
import { cleanupJob, removeStoryJob, settleStoriesJob } from "./jobs.ts";

export const stories: Feature = {
  name: "stories",
  summary: "pictures that are there for a day, and who has seen them",
  requires: ["tickets", "accounts", "graph", "media"],
  plugin: async (app, context) => (await import("./routes.ts")).storyRoutes(app, context),
  jobs: [removeStoryJob, settleStoriesJob, cleanupJob],
  commands: { "stories:cleanup": StoriesCleanup },
  warnings: async (context) => (await import("./overdue.ts")).overdueWarnings(context),
  on: {
    "media.ready": async (tx, { medium_id }, context) =>
      (await import("./stories.ts")).settleStory(tx, context, medium_id, null),
    "media.failed": async (tx, { medium_id, ...failure }, context) =>
      (await import("./stories.ts")).settleStory(tx, context, medium_id, failure),
  },
};
