import { Counter, collectDefaultMetrics, Histogram, Registry } from "prom-client";

/** All metrics of the process. A feature declares its own in its metrics.ts, with this registry. */
export const registry = new Registry();

export const httpRequests = new Counter({
  name: "instagram_http_requests_total",
  help: "Total HTTP requests",
  labelNames: ["method", "path", "status_code"],
  registers: [registry],
});

export const httpDuration = new Histogram({
  name: "instagram_http_request_duration_seconds",
  help: "HTTP request duration",
  labelNames: ["method", "path"],
  buckets: [0.01, 0.05, 0.1, 0.5, 1, 2, 5],
  registers: [registry],
});

/** Adds the process' own figures (memory, event loop, garbage collection); once, by serve and worker. */
export function collectProcessMetrics(): void {
  collectDefaultMetrics({ register: registry });
}
