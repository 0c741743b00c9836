import { Counter, Histogram } from "prom-client";
import { registry } from "../../src/metrics.ts";

export const feedHits = new Counter({
  name: "instagram_feed_cache_hits_total",
  help: "Feed pages that came from timelines in Redis alone",
  registers: [registry],
});

export const feedMisses = new Counter({
  name: "instagram_feed_cache_misses_total",
  help: "Feed pages for which a timeline had to be built, or that were read from Postgres though there is a Redis",
  registers: [registry],
});

/** How a page was made: `hit` and `miss` as above, `off` where no Redis is configured. */
export type CacheStatus = "hit" | "miss" | "off";

export const feedSeconds = new Histogram({
  name: "instagram_feed_generation_seconds",
  help: "Feed generation duration",
  labelNames: ["cache_status"],
  buckets: [0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.2, 0.5, 1],
  registers: [registry],
});

export const rebuilds = new Counter({
  name: "tintype_feed_rebuilds_total",
  help: "Timelines that were built from Postgres",
  registers: [registry],
});

export const fanOutSeconds = new Histogram({
  name: "tintype_feed_fan_out_seconds",
  help: "One fan-out job, from when it was taken to its last push",
  buckets: [0.005, 0.01, 0.05, 0.1, 0.5, 1, 5],
  registers: [registry],
});

export const pushes = new Counter({
  name: "tintype_feed_pushes_total",
  help: "Entries that were pushed to timelines",
  registers: [registry],
});
