import { Counter, Gauge } from "prom-client";
import { registry } from "../../src/metrics.ts";

export const likesTotal = new Counter({
  name: "instagram_likes_total",
  help: "Likes and unlikes that changed something",
  labelNames: ["action"],
  registers: [registry],
});

export const likesDuplicate = new Counter({
  name: "instagram_likes_duplicate_total",
  help: "Likes of what was liked already",
  registers: [registry],
});

export const backlog = new Gauge({
  name: "tintype_likes_backlog",
  help: "Likes and unlikes that are not rolled up yet, when this process last looked; it stops counting a little above the bound",
  registers: [registry],
});
