import type { Context } from "./context.ts";
import { describe } from "./db/database.ts";
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
/** A disk is written to at most once in this time, in milliseconds, however often somebody asks. */
const DISK_INTERVAL = 1_000;

type Probed = Pick<Context, "pool" | "media" | "config" | "redis">;

const diskChecks = new WeakMap<Probed, { media: () => Promise<void>; staging: () => Promise<void> }>();

/** Asks every dependency that is configured for a sign of life, all at once. */
export async function probe(context: Probed): Promise<Record<string, Probe>> {
  const { pool, redis } = context;
  const disks = diskChecks.get(context) ?? {
    media: seldom(() => context.media.check()),
    staging: seldom(() => checkStaging(context.config)),
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

/**
 * The same check for whoever asks within DISK_INTERVAL of its end. While it runs there is no other: on a disk that
 * hangs, each would hold one of the few threads that Node has for files.
 */
function seldom(check: () => Promise<void>): () => Promise<void> {
  let latest: Promise<void> | undefined;
  let until = 0;
  return () => {
    if (latest && performance.now() < until) return latest;
    until = Number.POSITIVE_INFINITY;
    latest = check().finally(() => {
      until = performance.now() + DISK_INTERVAL;
    });
    return latest;
  };
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
