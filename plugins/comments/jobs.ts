import type { Context } from "../../src/context.ts";
import { defineJob } from "../../src/jobs/job.ts";

declare module "../../src/jobs/job.ts" {
  interface JobData {
    /** What is left of a deleted comment, or of all comments of a deleted post. */
    "comments.remove": { comment_id: string } | { post_id: string };
    "comments.sweep": Record<never, never>;
  }
}

export const removeCommentsJob = defineJob<Context, "comments.remove">({
  name: "comments.remove",
  attempts: 5,
  // Two, so that one post with a million comments does not hold up everything else.
  concurrency: () => 2,
  urgent: false,
  // A million comments at some thousands a second, and room for a slow disk.
  expireSeconds: 3_600,
  async open(context) {
    const { removeRest, removeRestOfPost } = await import("./removal.ts");
    return {
      handle: (data, { signal }) =>
        "post_id" in data
          ? removeRestOfPost(context, data.post_id, signal)
          : removeRest(context, data.comment_id, signal),
    };
  },
});

/** Goes on with removals whose job failed for good, and begins those of posts that were deleted while the feature was off. */
export const sweepCommentsJob = defineJob<Context, "comments.sweep">({
  name: "comments.sweep",
  attempts: 3,
  concurrency: () => 1,
  urgent: false,
  expireSeconds: 600,
  schedule: "43 3 * * *",
  async open(context) {
    const { resumeRemovals } = await import("./removal.ts");
    return {
      async handle(_data, { log }) {
        const removals = await resumeRemovals(context);
        if (removals > 0) log.info({ removals }, "removals of comments resumed");
      },
    };
  },
});
