import type { Context } from "../../src/context.ts";
import { defineJob } from "../../src/jobs/job.ts";

declare module "../../src/jobs/job.ts" {
  interface JobData {
    "stories.remove": { story_id: string };
    "stories.settle": Record<never, never>;
    "stories.cleanup": Record<never, never>;
  }
}

/** Removes what is left of a deleted story. One that is given up is found by the next cleanup. */
export const removeStoryJob = defineJob<Context, "stories.remove">({
  name: "stories.remove",
  attempts: 10,
  concurrency: () => 1,
  urgent: false,
  expireSeconds: 3_600,
  async open(context) {
    const { finishRemoval } = await import("./cleanup.ts");
    return { handle: ({ story_id }, { signal }) => finishRemoval(context, [story_id], { signal }) };
  },
});

/** What `tintype stories cleanup` does, by the clock: where no cron calls that, nothing piles up. */
export const cleanupJob = defineJob<Context, "stories.cleanup">({
  name: "stories.cleanup",
  attempts: 3,
  concurrency: () => 1,
  urgent: false,
  // The next shares what is left with this one, should it take longer.
  expireSeconds: 3_600,
  schedule: "17 * * * *",
  async open(context) {
    const { cleanUp } = await import("./cleanup.ts");
    return {
      async handle(_data, { signal, log }) {
        const cleanup = await cleanUp(context, { grace: context.config.stories.cleanup_grace, signal });
        if (Object.values(cleanup).some((count) => count > 0)) log.info(cleanup, "stories cleaned up");
      },
    };
  },
});

/** Stories whose pictures were processed by a worker in which this feature is off. */
export const settleStoriesJob = defineJob<Context, "stories.settle">({
  name: "stories.settle",
  attempts: 1,
  concurrency: () => 1,
  urgent: false,
  expireSeconds: 60,
  schedule: "* * * * *",
  async open(context) {
    const { settleLeft } = await import("./settling.ts");
    return {
      async handle(_data, { log, signal }) {
        const stories = await settleLeft(context, signal);
        if (stories > 0) log.info({ stories }, "stories settled that nobody had told of their pictures");
      },
    };
  },
});
