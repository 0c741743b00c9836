import type { Context } from "../../src/context.ts";
import { defineJob } from "../../src/jobs/job.ts";

declare module "../../src/jobs/job.ts" {
  interface JobData {
    "exports.make": { export_id: string };
    "exports.sweep": Record<never, never>;
  }
}

export const makeJob = defineJob<Context, "exports.make">({
  name: "exports.make",
  attempts: 3,
  // It reads and writes as much as the disk can: a second one would only slow both down.
  concurrency: () => 1,
  urgent: true,
  // Some 100 GB from a slow store.
  expireSeconds: 6 * 3_600,
  async open(context) {
    const { makeExport } = await import("./make.ts");
    return { handle: ({ export_id }, run) => makeExport(context, export_id, run) };
  },
});

/** What is past its time, and what killed workers left behind. */
export const sweepJob = defineJob<Context, "exports.sweep">({
  name: "exports.sweep",
  attempts: 1,
  concurrency: () => 1,
  urgent: false,
  expireSeconds: 300,
  schedule: "*/5 * * * *",
  async open(context) {
    const { sweepExports } = await import("./sweep.ts");
    return {
      async handle(_data, { log }) {
        const swept = await sweepExports(context);
        if (Object.values(swept).some((count) => count > 0)) log.info(swept, "exports swept");
      },
    };
  },
});
