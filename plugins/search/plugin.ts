import type { Feature } from "../../src/feature.ts";

export const search: Feature = {
  name: "search",
  summary: "finding people: the search by name, and suggestions",
  requires: ["tickets", "accounts", "graph"],
  plugin: async (app, context) => (await import("./routes.ts")).searchRoutes(app, context),
};
