import type { Context } from "../../src/context.ts";
import { defineJob } from "../../src/jobs/job.ts";

declare module "../../src/jobs/job.ts" {
  interface JobData {
    "idempotency.sweep": Record<never, never>;
  }
}

/** Removes answers whose day is over; they are given no more already, this only frees the rows. */
export const sweepJob = defineJob<Context, "idempotency.sweep">({
  name: "idempotency.sweep",
  attempts: 3,
  concurrency: () => 1,
  urgent: false,
  expireSeconds: 600,
  schedule: "*/10 * * * *",
  async open({ db }) {
    const { sweepKeys } = await import("../../src/http/idempotency-store.ts");
    return {
      async handle(_data, { log, signal }) {
        const keys = await sweepKeys(db, signal);
        if (keys > 0) log.info({ keys }, "idempotency keys swept");
      },
    };
  },
});
