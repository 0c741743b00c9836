import type { Feature } from "../../src/feature.ts";
import { forgetSavesJob } from "./jobs.ts";

export const saves: Feature = {
  name: "saves",
  summary: "saved posts and collections of them",
  requires: ["tickets", "accounts", "graph", "posts"],
  plugin: async (app, context) => (await import("./routes.ts")).saveRoutes(app, context),
  jobs: [forgetSavesJob],
  on: {
    "post.removed": async (tx, { post_id }, context) => {
      const { forgetDelay } = await import("../posts/index.ts");
      await context.enqueue(tx, "saves.forget", { post_id }, { delaySeconds: forgetDelay(context) });
    },
  },
  counters: async () => {
    const { leftoverCounter } = await import("../posts/index.ts");
    return [leftoverCounter({ table: "saves", job: "saves.forget" })];
  },
  async *takeout(context, userId) {
    yield* (await import("./takeout.ts")).savesTakeout(context, userId);
  },
  erase: async (...account) => (await import("./erase.ts")).eraseSaves(...account),
};
