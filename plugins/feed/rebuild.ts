import limitTo from "p-limit";
import type { Context } from "../../src/context.ts";
import type { RedisStore } from "../../src/redis/redis.ts";
import { Builder } from "./building.ts";
import {
  beginRebuild,
  countAccounts,
  endRebuild,
  nextAccounts,
  noteRebuild,
  type RebuildRun,
  unfinishedRebuild,
} from "./rebuild-store.ts";
import { type Line, Timelines } from "./timelines.ts";

/** Accounts that are rebuilt at once. */
const AT_ONCE = 4;
/** After so many it is noted how far it is: one that is killed does as many again. */
const BATCH = 200;
/** How often each is tried: with a process that was killed while it built one, until its time is over. */
const TRIES = 6;

export interface RebuildOptions {
  dryRun: boolean;
  signal: AbortSignal;
  /** Told how many accounts were looked at, of how many. */
  onProgress: (looked: number, total: number) => void;
}

export interface Rebuilt {
  /** Accounts whose timeline, and list if they are pulled, was built anew; of a dry run those that would be. */
  rebuilt: number;
  /** Those for which something changed meanwhile. What they had is gone: whoever reads it next builds it. */
  skipped: number;
}

type RebuildContext = Pick<Context, "db" | "bulkhead"> & { redis: RedisStore };

/**
 * Builds anew what lies in Redis of everybody who was seen within 7 days, in the order of their ids, while people read and
 * post. It may be ended at any moment, and goes on there when it is run again.
 * @param options.restart begins at the first account, whatever was done before.
 * @param options.onResumed told of the one that it goes on with.
 * @throws RedisUnavailableError
 */
export async function rebuildTimelines(
  context: RebuildContext,
  options: RebuildOptions & { restart: boolean; onResumed: (run: RebuildRun) => void },
): Promise<Rebuilt & { resumed: boolean }> {
  const { db, redis } = context;
  const { dryRun, restart, signal } = options;
  const unfinished = restart ? undefined : await unfinishedRebuild(db, redis.epoch());
  const resumed = unfinished !== undefined && unfinished.after_id !== null;
  if (resumed) options.onResumed(unfinished);
  const run = unfinished ?? (dryRun ? null : await beginRebuild(db, redis.epoch()));
  const rebuilder = new Rebuilder(context);
  const done: Rebuilt = { rebuilt: 0, skipped: 0 };
  let after = run?.after_id ?? null;
  const total = await countAccounts(db, after);
  for (let looked = 0; ; ) {
    options.onProgress(looked, total);
    signal.throwIfAborted();
    const accounts = await nextAccounts(db, after, BATCH);
    const last = accounts.at(-1);
    if (!last) break;
    const some = await rebuilder.rebuild(accounts, { dryRun, signal });
    done.rebuilt += some.rebuilt;
    done.skipped += some.skipped;
    looked += accounts.length;
    after = last.id;
    if (run && !dryRun) await noteRebuild(db, run.run_id, { after_id: after, rebuilt: some.rebuilt });
  }
  if (run && !dryRun) await endRebuild(db, run.run_id);
  return { ...done, resumed };
}

/** The same for one account, seen or not. */
export async function rebuildTimelinesOf(
  context: RebuildContext,
  userId: string,
  options: Pick<RebuildOptions, "dryRun" | "signal">,
): Promise<Rebuilt & { resumed: boolean }> {
  const rebuilt = await new Rebuilder(context).rebuild([{ id: userId, seen: true }], options);
  return { ...rebuilt, resumed: false };
}

class Rebuilder {
  readonly #timelines: Timelines;
  readonly #builder: Builder;
  readonly #limit = limitTo(AT_ONCE);

  constructor(context: RebuildContext) {
    this.#timelines = new Timelines(context.redis);
    this.#builder = new Builder(context, this.#timelines);
  }

  async rebuild(
    accounts: readonly { id: string; seen: boolean }[],
    { dryRun, signal }: Pick<RebuildOptions, "dryRun" | "signal">,
  ): Promise<Rebuilt> {
    const ids = accounts.map(({ id }) => id);
    const [timelines, authors] = await Promise.all([
      this.#timelines.there("timeline", ids),
      this.#timelines.there("author", ids),
    ]);
    for (const { id, seen } of accounts) if (seen) timelines.add(id);
    const chosen = ids.filter((id) => timelines.has(id) || authors.has(id));
    if (dryRun) return { rebuilt: chosen.length, skipped: 0 };
    const kept = await this.#limit.map(chosen, async (id) => {
      signal.throwIfAborted();
      const timeline = !timelines.has(id) || (await this.#build("timeline", id));
      const author = !authors.has(id) || (await this.#build("author", id));
      return timeline && author;
    });
    const rebuilt = kept.filter(Boolean).length;
    return { rebuilt, skipped: chosen.length - rebuilt };
  }
  async #build(line: Line, id: string): Promise<boolean> {
    for (let tries = 0; tries < TRIES; tries++) {
      if (await this.#builder.build(line, id, { anew: true })) return true;
    }
    return false;
  }
}
