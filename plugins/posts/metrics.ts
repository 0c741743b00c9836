import { Counter } from "prom-client";
import { registry } from "../../src/metrics.ts";

export const postsCreated = new Counter({
  name: "instagram_posts_created_total",
  help: "Total posts created",
  registers: [registry],
});
