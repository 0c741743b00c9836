import type { Feature } from "../../src/feature.ts";

export const graph: Feature = {
  name: "graph",
  summary: "follows, and who may see whom",
  core: true,
  requires: ["accounts"],
  plugin: async (app, context) => (await import("./routes.ts")).graphRoutes(app, context),
};
