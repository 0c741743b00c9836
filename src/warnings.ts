import { setTimeout as delay } from "node:timers/promises";
import type { Context } from "./context.ts";
import type { Feature, Warning } from "./feature.ts";
import { seldom } from "./seldom.ts";

/** Features are asked at most once in this time, in milliseconds, however often somebody wants to know. */
const INTERVAL = 5_000;
/** Milliseconds after which whoever asks is answered without those that are not known yet. */
const DEADLINE = 2_000;

type WarningContext = Pick<Context, "config" | "db" | "log">;

/** @returns what features warn of, at once or within 2 seconds. It never fails: one that cannot be asked warns of nothing. */
export function warningsOf(context: WarningContext, features: readonly Feature[]): () => Promise<Warning[]> {
  const look = seldom(
    async () => (await Promise.all(features.map((feature) => ask(context, feature)))).flat(),
    INTERVAL,
  );
  return async () => {
    const ended = new AbortController();
    const deadline = delay(DEADLINE, [], { ref: false, signal: ended.signal }).catch(() => []);
    const warnings = await Promise.race([look(), deadline]);
    ended.abort();
    return warnings;
  };
}

async function ask(context: WarningContext, { name, warnings }: Feature): Promise<Warning[]> {
  try {
    return (await warnings?.(context)) ?? [];
  } catch (error) {
    context.log.debug({ err: error, feature: name }, "could not be asked for warnings");
    return [];
  }
}
