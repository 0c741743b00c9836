import type { Feature } from "../../src/feature.ts";
import { graphRoutes } from "./routes.ts";

export const graph: Feature = {
  name: "graph",
  summary: "follows, and who may see whom",
  core: true,
  requires: ["accounts"],
  plugin: graphRoutes,
};
