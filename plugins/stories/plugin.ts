import type { Feature } from "../../src/feature.ts";
import { BenchStories } from "./bench/commands.ts";
import { StoriesCleanup } from "./commands.ts";
import { cleanupJob, removeStoryJob, settleStoriesJob } from "./jobs.ts";
import { forgetting, settling } from "./told.ts";

export const stories: Feature = {
  name: "stories",
  summary: "pictures that are there for a day, and who has seen them",
  requires: ["tickets", "accounts", "graph", "media"],
  plugin: async (app, context) => {
    await (await import("./routes.ts")).storyRoutes(app, context);
    await (await import("./tray-routes.ts")).trayRoutes(app, context);
    await (await import("./view-routes.ts")).storyViewRoutes(app, context);
    await (await import("./archive-routes.ts")).archiveRoutes(app, context);
    await (await import("./highlight-routes.ts")).highlightRoutes(app, context);
  },
  jobs: [removeStoryJob, settleStoriesJob, cleanupJob],
  commands: { "stories:cleanup": StoriesCleanup, "bench:stories": BenchStories },
  warnings: async (context) => (await import("./overdue.ts")).overdueWarnings(context),
  on: settling,
  always: forgetting,
  async *takeout(context, userId) {
    yield* (await import("./takeout.ts")).storiesTakeout(context, userId);
  },
  erase: async (...account) => (await import("./erase.ts")).eraseStories(...account),
  counters: async () => (await import("./counters.ts")).storyCounters,
};
