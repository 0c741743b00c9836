import type { Context } from "../../src/context.ts";
import { defineJob } from "../../src/jobs/job.ts";

declare module "../../src/jobs/job.ts" {
  interface JobData {
    "accounts.sweep_sessions": Record<never, never>;
  }
}

/** Removes sessions that nobody used for their lifetime; they are refused already, this only frees the rows. */
export const sweepSessions = defineJob<Context, "accounts.sweep_sessions">({
  name: "accounts.sweep_sessions",
  attempts: 3,
  concurrency: () => 1,
  urgent: false,
  expireSeconds: 300,
  schedule: "17 3 * * *",
  async open({ config, db }) {
    const { deleteExpiredSessions } = await import("./store.ts");
    return {
      async handle(_data, { log }) {
        const sessions = await deleteExpiredSessions(db, config.accounts.session_lifetime);
        log.info({ sessions }, "unused sessions swept");
      },
    };
  },
});
