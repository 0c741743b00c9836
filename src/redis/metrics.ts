import { Counter, Gauge } from "prom-client";
import { registry } from "../metrics.ts";

export const breakerState = new Gauge({
  name: "instagram_circuit_breaker_state",
  help: "Circuit breaker state (0=closed, 1=open, 2=half-open)",
  labelNames: ["name"],
  registers: [registry],
});

export const breakerEvents = new Counter({
  name: "instagram_circuit_breaker_events_total",
  help: "Circuit breaker events",
  labelNames: ["name", "event"],
  registers: [registry],
});
