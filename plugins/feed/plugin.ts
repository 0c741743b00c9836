import type { Feature } from "../../src/feature.ts";
import { feedRoutes } from "./routes.ts";

export const feed: Feature = {
  name: "feed",
  summary: "the home feed",
  requires: ["accounts", "graph", "posts"],
  plugin: feedRoutes,
};
