import type { Context } from "../../src/context.ts";
import { defineJob } from "../../src/jobs/job.ts";

declare module "../../src/jobs/job.ts" {
  interface JobData {
    "saves.forget": { post_id: string };
  }
}

/** Removes what is left of a deleted post's saves. */
export const forgetSavesJob = defineJob<Context, "saves.forget">({
  name: "saves.forget",
  attempts: 10,
  concurrency: () => 1,
  urgent: false,
  expireSeconds: 3_600,
  async open({ db }) {
    const { forgetPost } = await import("../posts/index.ts");
    return { handle: ({ post_id }, { signal }) => forgetPost(db, { table: "saves", postId: post_id, signal }) };
  },
});
