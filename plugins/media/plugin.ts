import type { Feature } from "../../src/feature.ts";
import { BenchUpload } from "./commands.ts";
import { processJob, removeJob, sweepJob, sweepStoreJob } from "./jobs.ts";
import { MediaQuarantine } from "./quarantine-commands.ts";

export const media: Feature = {
  name: "media",
  summary: "uploads, renditions and their delivery",
  core: true,
  requires: ["tickets", "accounts", "graph"],
  rootPlugin: async (app, context) => (await import("./routes.ts")).mediaRoutes(app, context),
  commands: { "bench:upload": BenchUpload, "media:quarantine": MediaQuarantine },
  jobs: [processJob, removeJob, sweepJob, sweepStoreJob],
  passing: ["pending_originals"],
  async *takeout(context, userId) {
    yield* (await import("./takeout.ts")).mediaTakeout(context, userId);
  },
  erase: async (...account) => (await import("./erase.ts")).eraseMedia(...account),
  async *objects(db) {
    yield* (await import("./objects.ts")).knownObjects(db);
  },
};
