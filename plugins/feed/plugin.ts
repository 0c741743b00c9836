import type { Feature } from "../../src/feature.ts";

export const feed: Feature = {
  name: "feed",
  summary: "the home feed",
  requires: ["tickets", "accounts", "graph", "posts"],
  plugin: async (app, context) => (await import("./routes.ts")).feedRoutes(app, context),
};
