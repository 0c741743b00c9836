import type { Context } from "../../src/context.ts";
import { inTransaction } from "../../src/db/transaction.ts";
import { defineJob } from "../../src/jobs/job.ts";

declare module "../../src/jobs/job.ts" {
  interface JobData {
    "notifications.fold": Record<never, never>;
    "notifications.recount": { user_id: string };
    "notifications.sweep": Record<never, never>;
  }
}

/** Folds what is logged for people who do not ask for it, so that the log holds the events of a minute. */
export const foldJob = defineJob<Context, "notifications.fold">({
  name: "notifications.fold",
  attempts: 1,
  concurrency: () => 1,
  urgent: false,
  expireSeconds: 600,
  schedule: "* * * * *",
  async open({ db }) {
    const { foldAll } = await import("./fold.ts");
    return { handle: async (_data, { signal }) => foldAll(db, signal) };
  },
});

/** Looks whether an account that was suspended, or is back, is counted right by everybody. */
export const recountJob = defineJob<Context, "notifications.recount">({
  name: "notifications.recount",
  attempts: 5,
  concurrency: () => 2,
  urgent: false,
  expireSeconds: 600,
  async open({ db }) {
    const { appendRecounts } = await import("./log-store.ts");
    return { handle: ({ user_id }) => inTransaction(db, (tx) => appendRecounts(tx, user_id)) };
  },
});

/** Removes what is older than 90 days. */
export const sweepJob = defineJob<Context, "notifications.sweep">({
  name: "notifications.sweep",
  attempts: 3,
  concurrency: () => 1,
  urgent: false,
  expireSeconds: 3_600,
  schedule: "41 3 * * *",
  async open({ db }) {
    const { sweepNotifications } = await import("./sweep.ts");
    return {
      async handle(_data, { log, signal }) {
        const people = await sweepNotifications(db, signal);
        if (people > 0) log.info({ people }, "old notifications swept");
      },
    };
  },
});
