import type { Context } from "../../src/context.ts";
import { defineJob } from "../../src/jobs/job.ts";

declare module "../../src/jobs/job.ts" {
  interface JobData {
    "limits.sweep": Record<never, never>;
  }
}

/** Milliseconds after which an address that an owner does not come from any more is one like any other. */
const KEPT_FOR = 180 * 24 * 3_600_000;

/** Forgets from where owners came long ago. */
export const sweepJob = defineJob<Context, "limits.sweep">({
  name: "limits.sweep",
  attempts: 3,
  concurrency: () => 1,
  urgent: false,
  expireSeconds: 300,
  schedule: "41 3 * * *",
  async open({ db }) {
    const { forgetUnused } = await import("./store.ts");
    return {
      async handle(_data, { log, signal }) {
        const addresses = await forgetUnused(db, KEPT_FOR, signal);
        log.info({ addresses }, "addresses of sign-ins swept");
      },
    };
  },
});
