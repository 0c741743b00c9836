import type { Feature } from "../../src/feature.ts";
import { BenchUpload } from "./commands.ts";
import { processJob, removeJob, sweepJob } from "./jobs.ts";

export const media: Feature = {
  name: "media",
  summary: "uploads, renditions and their delivery",
  core: true,
  requires: ["accounts", "graph"],
  rootPlugin: async (app, context) => (await import("./routes.ts")).mediaRoutes(app, context),
  commands: { "bench:upload": BenchUpload },
  jobs: [processJob, removeJob, sweepJob],
};
