import { Counter } from "prom-client";
import { registry } from "../../src/metrics.ts";

export const hits = new Counter({
  name: "instagram_rate_limit_hits_total",
  help: "Requests that were refused because of a limit",
  labelNames: ["action"],
  registers: [registry],
});
