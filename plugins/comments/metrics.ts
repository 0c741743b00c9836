import { Counter } from "prom-client";
import { registry } from "../../src/metrics.ts";

export const commentsTotal = new Counter({
  name: "instagram_comments_total",
  help: "Total comments written and deleted, replies included",
  labelNames: ["action"],
  registers: [registry],
});
