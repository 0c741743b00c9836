import type { EventEmitter } from "node:events";
import CircuitBreaker from "opossum";
import type { Logger } from "pino";
import { breakerEvents, breakerState } from "./metrics.ts";

const STATES = { close: 0, open: 1, halfOpen: 2 } as const;

/** While it is open nothing is asked; once a second one call is let through, and closes it if it goes well. */
const OPTIONS: CircuitBreaker.Options = {
  // Each command has its own time limit, long before the 30 s of the other breakers: a feed cannot wait for those.
  timeout: false,
  errorThresholdPercentage: 50,
  volumeThreshold: 3,
  resetTimeout: 1_000,
  rollingCountTimeout: 5_000,
  rollingCountBuckets: 5,
  rollingPercentilesEnabled: false,
};

export type Breaker = CircuitBreaker<[work: () => Promise<unknown>], unknown>;

/** @param isOutage which errors are the dependency's, and not what was asked of it. */
export function createBreaker(name: string, log: Logger, isOutage: (error: unknown) => boolean): Breaker {
  const breaker: Breaker = new CircuitBreaker((work: () => Promise<unknown>) => work(), {
    ...OPTIONS,
    name,
    errorFilter: (error: unknown) => !isOutage(error),
  });
  breakerState.set({ name }, STATES.close);
  const events: EventEmitter = breaker;
  for (const event of ["open", "halfOpen", "close"] as const) {
    events.on(event, () => {
      breakerState.set({ name }, STATES[event]);
      breakerEvents.inc({ name, event });
      log[event === "close" ? "info" : "warn"]({ breaker: name, state: event }, "circuit breaker");
    });
  }
  for (const event of ["failure", "reject", "timeout"] as const) {
    events.on(event, () => breakerEvents.inc({ name, event }));
  }
  return breaker;
}
