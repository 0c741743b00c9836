import type { Feature } from "../../src/feature.ts";
import { approveWaitingJob, settleCountsJob } from "./jobs.ts";

export const graph: Feature = {
  name: "graph",
  summary: "follows, and who may see whom",
  core: true,
  requires: ["tickets", "accounts"],
  plugin: async (app, context) => (await import("./routes.ts")).graphRoutes(app, context),
  jobs: [approveWaitingJob, settleCountsJob],
  on: {
    "account.went_public": async (tx, { user_id }, context) =>
      (await import("./going-public.ts")).approveAtOnce(tx, context, user_id),
    "account.suspended": async (tx, { user_id }, { enqueue }) => {
      await enqueue(tx, "graph.settle_counts", { user_id });
    },
    // Its follows are removed after its media, and those may have to wait for a backup.
    "account.deleting": async (tx, { user_id }, { enqueue }) => {
      await enqueue(tx, "graph.settle_counts", { user_id });
    },
    "account.unsuspended": async (tx, { user_id }, context) => {
      await context.enqueue(tx, "graph.settle_counts", { user_id });
      // What still waited when the account was suspended.
      await (await import("./going-public.ts")).approveLater(tx, context, user_id);
    },
  },
  async *takeout(context, userId) {
    yield* (await import("./takeout.ts")).graphTakeout(context, userId);
  },
  counters: async () => (await import("./counters.ts")).graphCounters,
  erase: async (...account) => (await import("./erase.ts")).eraseGraph(...account),
};
