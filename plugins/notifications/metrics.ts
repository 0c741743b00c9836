import { Counter } from "prom-client";
import { registry } from "../../src/metrics.ts";

export const notificationsTold = new Counter({
  name: "tintype_notifications_told_total",
  help: "Notifications that were made, or moved to the top by somebody else or another comment",
  labelNames: ["type"],
  registers: [registry],
});
