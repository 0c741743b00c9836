import type { Context } from "../../src/context.ts";
import { defineJob } from "../../src/jobs/job.ts";
import type { Subject } from "./backlog-store.ts";

declare module "../../src/jobs/job.ts" {
  interface JobData {
    "notifications.fold": Record<never, never>;
    "notifications.spread": Subject;
    "notifications.sweep": Record<never, never>;
  }
}

/** Folds what is logged for people who do not ask for it, so that the log holds the events of a minute; removes what folds took out. */
export const foldJob = defineJob<Context, "notifications.fold">({
  name: "notifications.fold",
  attempts: 1,
  concurrency: () => 1,
  urgent: false,
  expireSeconds: 600,
  schedule: "* * * * *",
  async open({ db }) {
    const [{ foldAll }, { spreadAbandoned }, { removeGone }] = await Promise.all([
      import("./fold.ts"),
      import("./backlog.ts"),
      import("./sweep.ts"),
    ]);
    return {
      async handle(_data, { signal, log }) {
        await foldAll(db, signal);
        await removeGone(db, signal);
        await spreadAbandoned(db, { signal, log });
      },
    };
  },
});

/** Tells all who were told of an account, or of a post, that it is suspended, back or gone. */
export const spreadJob = defineJob<Context, "notifications.spread">({
  name: "notifications.spread",
  attempts: 5,
  concurrency: () => 2,
  urgent: false,
  expireSeconds: 600,
  async open({ db }) {
    const { spread } = await import("./backlog.ts");
    return { handle: (subject, { signal }) => spread(db, subject, signal) };
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
