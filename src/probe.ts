import type { Context } from "./context.ts";
import { describe } from "./db/database.ts";
import { seldom } from "./seldom.ts";
import { checkStaging } from "./staging.ts";

export interface Probe {
  state: "up" | "down";
  /** Without it nothing works. */
  required: boolean;
  latency_ms: number;
  error: string | null;
}

/** A dependency that takes longer than this, in milliseconds, is down. */
const DEADLINE = 2_000;
/**
 * A disk is written to at most once in this time, in milliseconds, however often somebody asks; and not while it hangs, where each
 * look would hold one of the few threads that Node has for files.
 */
const DISK_INTERVAL = 1_000;

type Probed = Pick<Context, "pool" | "media" | "config" | "redis">;

const diskChecks = new WeakMap<Probed, { media: () => Promise<void>; staging: () => Promise<void> }>();

/** Asks every dependency that is configured for a sign of life, all at once. */
export async function probe(context: Probed): Promise<Record<string, Probe>> {
  const { pool, redis } = context;
  const disks = diskChecks.get(context) ?? {
    media: seldom(() => context.media.check(), DISK_INTERVAL),
    staging: seldom(() => checkStaging(context.config), DISK_INTERVAL),
  };
  diskChecks.set(context, disks);
  const asked: Record<string, Promise<Probe>> = {
    postgres: ask(() => pool.query("SELECT 1")),
    media: ask(disks.media),
    staging: ask(disks.staging),
    ...(redis && { redis: ask(() => redis.ping(), { required: false }) }),
  };
  const answers = Object.entries(asked).map(async ([name, answer]) => [name, await answer] as const);
  return Object.fromEntries(await Promise.all(answers));
}

async function ask(work: () => Promise<unknown>, { required = true } = {}): Promise<Probe> {
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
    required,
    latency_ms: Math.round(performance.now() - started),
    error,
  };
}
