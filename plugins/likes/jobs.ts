import type { Context } from "../../src/context.ts";
import { defineJob } from "../../src/jobs/job.ts";

declare module "../../src/jobs/job.ts" {
  interface JobData {
    "likes.roll_up": Record<never, never>;
    "likes.forget": { post_id: string; author_id: string };
  }
}

/**
 * Adds the log of likes to what is counted. Servers that append enqueue it, and the clock: what a killed server has appended waits
 * for a minute at most.
 */
export const rollUpJob = defineJob<Context, "likes.roll_up">({
  name: "likes.roll_up",
  attempts: 3,
  concurrency: () => 1,
  urgent: true,
  expireSeconds: 300,
  schedule: "* * * * *",
  async open(context) {
    const [{ rollUp }, { tellBacklog }] = await Promise.all([import("./roll-up.ts"), import("./backlog.ts")]);
    return {
      async handle(_data, { signal }) {
        await rollUp(context, signal);
        await tellBacklog(context.db);
      },
    };
  },
});

/** Removes what is left of a deleted post's likes. */
export const forgetLikesJob = defineJob<Context, "likes.forget">({
  name: "likes.forget",
  attempts: 10,
  concurrency: () => 1,
  urgent: false,
  expireSeconds: 3_600,
  async open(context) {
    const { forgetLikes } = await import("./forget.ts");
    return { handle: (post, { signal }) => forgetLikes(context.db, post, signal) };
  },
});
