import type { Context } from "../../src/context.ts";
import { defineJob } from "../../src/jobs/job.ts";

export const fanOutJob = defineJob<Context, "feed.fan_out">({
  name: "feed.fan_out",
  attempts: 5,
  concurrency: () => 2,
  urgent: true,
  expireSeconds: 120,
  open: async (context) => {
    const { fanOut } = await import("./fan-out.ts");
    return { handle: (data, run) => fanOut(context, data, run) };
  },
});
