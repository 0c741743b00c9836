import { Counter, Gauge } from "prom-client";
import { registry } from "../../src/metrics.ts";

export const storiesCreated = new Counter({
  name: "instagram_stories_created_total",
  help: "Total stories created",
  registers: [registry],
});

export const storiesCleanedUp = new Counter({
  name: "instagram_stories_cleaned_up_total",
  help: "Stories that this process has cleaned up",
  registers: [registry],
});

export const storiesOverdue = new Gauge({
  name: "tintype_stories_overdue",
  help: "Stories that should have been cleaned up more than two hours ago, when this process last looked; it counts no further than 10001",
  registers: [registry],
});
