import type { Spread } from "../random.ts";

/** What the load generator is to do. It goes from process to process. */
export interface LoadPlan {
  host: string;
  port: number;
  /** All of them are opened before the load begins. */
  connections: number;
  arrivals: Arrivals;
  classes: RequestClass[];
  seed: number;
}

/**
 * `open`: at a constant rate, whatever becomes of the answers. `closed`: the next request of a connection goes out when the one
 * before has been answered. `once`: the same, until each request has been sent once.
 */
export type Arrivals =
  | { model: "open"; rate: number; seconds: number }
  | { model: "closed"; seconds: number }
  | { model: "once" };

/** Requests of one kind. */
export interface RequestClass {
  name: string;
  /** Of all that is sent; the shares of all classes sum up to 1. */
  share: number;
  /** How the next one is chosen; `turn`: one after the other. */
  draw: Spread | "turn";
  /** Whole HTTP/1.1 requests. */
  requests: Buffer[];
  /** Of how many answers one is handed back whole; 0 for none. */
  keepOneOf: number;
}

export interface LoadResult {
  /** From the first intended request to the last answer, or to the end of the time. */
  seconds: number;
  /** Processor time that the generator took itself, of one core. With 1 it measured itself and not the server. */
  generatorShare: number;
  /** In the order of the plan's classes. */
  classes: ClassResult[];
}

export interface ClassResult {
  name: string;
  answered: number;
  perSecond: number;
  /** Milliseconds; see run.ts for what they are counted from. */
  latency: { p50: number; p95: number; p99: number; max: number };
  /** By status; 0: the connection was lost, or no answer came in time. */
  statuses: Record<number, number>;
  kept: KeptAnswer[];
}

export interface KeptAnswer {
  /** Of the request in its class. */
  request: number;
  status: number;
  body: Buffer;
}
