import type { Context } from "../../src/context.ts";
import { defineJob } from "../../src/jobs/job.ts";

declare module "../../src/jobs/job.ts" {
  interface JobData {
    "graph.approve_waiting": { user_id: string };
    "graph.settle_counts": { user_id: string };
  }
}

/** The rest of the requests that waited for an account which has gone public. */
export const approveWaitingJob = defineJob<Context, "graph.approve_waiting">({
  name: "graph.approve_waiting",
  attempts: 5,
  // Two, so that one account with a million requests does not hold up everybody else.
  concurrency: () => 2,
  urgent: true,
  // A million requests at some 5,000 a second, and room for a slow disk.
  expireSeconds: 3_600,
  async open(context) {
    const { approveWaiting } = await import("./going-public.ts");
    return { handle: ({ user_id }, { signal }) => approveWaiting(context, user_id, signal) };
  },
});

/** Takes the follows of an account that has vanished out of the counters, and those of one that is back into them. */
export const settleCountsJob = defineJob<Context, "graph.settle_counts">({
  name: "graph.settle_counts",
  attempts: 5,
  // Two, for the same reason.
  concurrency: () => 2,
  urgent: true,
  expireSeconds: 3_600,
  async open(context) {
    const { settleCounts } = await import("./settle-counts.ts");
    return { handle: ({ user_id }, { signal }) => settleCounts(context, user_id, signal) };
  },
});
