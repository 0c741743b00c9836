import type { Feature } from "../../src/feature.ts";
import { BenchUpload } from "./commands.ts";
import { discardJob, processJob, removeJob, sweepJob, sweepStoreJob } from "./jobs.ts";
import { MediaRemoveOrphans, MediaVerify } from "./ledger-commands.ts";
import { MediaMigrate } from "./migrate-commands.ts";
import { MediaQuarantine } from "./quarantine-commands.ts";
import { MediaQuota } from "./quota-commands.ts";
import { MediaReprocess } from "./reprocess-commands.ts";
import { MediaList, MediaShow, MediaUsage } from "./usage-commands.ts";

export const media: Feature = {
  name: "media",
  summary: "uploads, renditions and their delivery",
  core: true,
  requires: ["tickets", "accounts", "graph"],
  plugin: async (app, context) => (await import("./usage-routes.ts")).usageRoutes(app, context),
  rootPlugin: async (app, context) => (await import("./routes.ts")).mediaRoutes(app, context),
  commands: {
    "bench:upload": BenchUpload,
    "media:usage": MediaUsage,
    "media:list": MediaList,
    "media:show": MediaShow,
    "media:verify": MediaVerify,
    "media:migrate": MediaMigrate,
    "media:quarantine": MediaQuarantine,
    "media:quota": MediaQuota,
    "media:reprocess": MediaReprocess,
    "media:remove-orphans": MediaRemoveOrphans,
  },
  jobs: [processJob, removeJob, discardJob, sweepJob, sweepStoreJob],
  passing: ["pending_originals"],
  async *takeout(context, userId) {
    yield* (await import("./takeout.ts")).mediaTakeout(context, userId);
  },
  erase: async (...account) => (await import("./erase.ts")).eraseMedia(...account),
  async *objects(db) {
    yield* (await import("./objects.ts")).knownObjects(db);
  },
};
