import type { Context } from "./context.ts";
import { describe } from "./db/database.ts";

export interface Probe {
  state: "up" | "down";
  /** Without it nothing works. */
  required: boolean;
  latency_ms: number;
  error: string | null;
}

/** A dependency that takes longer than this, in milliseconds, is down. */
const DEADLINE = 2_000;

/** Asks every dependency for a sign of life, all at once. */
export async function probe({
  pool,
  media,
}: Pick<Context, "pool" | "media">): Promise<Record<"postgres" | "media", Probe>> {
  const [postgres, store] = await Promise.all([ask(() => pool.query("SELECT 1")), ask(() => media.check())]);
  return { postgres, media: store };
}

async function ask(work: () => Promise<unknown>): Promise<Probe> {
  const started = performance.now();
  const timer = Promise.withResolvers<never>();
  const timeout = setTimeout(() => timer.reject(new Error(`no answer within ${DEADLINE} ms`)), DEADLINE);
  let error: string | null = null;
  try {
    await Promise.race([work(), timer.promise]);
  } catch (cause) {
    error = describe(cause);
  } finally {
    clearTimeout(timeout);
  }
  return {
    state: error === null ? "up" : "down",
    required: true,
    latency_ms: Math.round(performance.now() - started),
    error,
  };
}
