import type { Context } from "../../src/context.ts";
import { defineJob } from "../../src/jobs/job.ts";

declare module "../../src/jobs/job.ts" {
  interface JobData {
    "tags.count": Record<never, never>;
  }
}

/** Adds to the uses of tags what was published, changed and deleted since. */
export const countTagsJob = defineJob<Context, "tags.count">({
  name: "tags.count",
  attempts: 3,
  concurrency: () => 1,
  urgent: false,
  expireSeconds: 600,
  schedule: "* * * * *",
  async open({ db }) {
    const { countTags } = await import("./tags.ts");
    return { handle: (_data, { signal }) => countTags(db, signal) };
  },
});
