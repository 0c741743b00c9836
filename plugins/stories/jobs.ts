import type { Context } from "../../src/context.ts";
import { defineJob } from "../../src/jobs/job.ts";

declare module "../../src/jobs/job.ts" {
  interface JobData {
    "stories.remove": { story_id: string };
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
    return { handle: ({ story_id }, { signal }) => finishRemoval(context, story_id, signal) };
  },
});
