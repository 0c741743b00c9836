import { Counter } from "prom-client";
import { registry } from "../../src/metrics.ts";

export const storiesCreated = new Counter({
  name: "instagram_stories_created_total",
  help: "Total stories created",
  registers: [registry],
});
