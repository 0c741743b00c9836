import type { Feature } from "../../src/feature.ts";
import { makeJob, sweepJob } from "./jobs.ts";

export const exports: Feature = {
  name: "exports",
  summary: "a person's takeout: all that is kept of them, as a ZIP",
  requires: ["tickets", "accounts", "graph", "media", "posts"],
  plugin: async (app, context) => (await import("./routes.ts")).exportRoutes(app, context),
  rootPlugin: async (app, context) => (await import("./routes.ts")).downloadRoutes(app, context),
  jobs: [makeJob, sweepJob],
  on: {
    "account.password_changed": async (tx, { user_id }) => (await import("./exports.ts")).renewToken(tx, user_id),
  },
  erase: async (...account) => (await import("./erase.ts")).eraseExports(...account),
  passing: ["exports"],
};
