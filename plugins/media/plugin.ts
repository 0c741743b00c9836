import type { Feature } from "../../src/feature.ts";
import { processJob, removeJob, sweepJob } from "./jobs.ts";
import { mediaRoutes } from "./routes.ts";

export const media: Feature = {
  name: "media",
  summary: "uploads, renditions and their delivery",
  core: true,
  requires: ["accounts", "graph"],
  rootPlugin: mediaRoutes,
  jobs: [processJob, removeJob, sweepJob],
};
