import { setTimeout as delay } from "node:timers/promises";
import type { Context } from "../../src/context.ts";
import { PG_SNAPSHOT, parsePgSnapshot } from "../../src/db/snapshot.ts";
import type { Db } from "../../src/db/transaction.ts";
import type { RedisStore } from "../../src/redis/redis.ts";
import { encodeSnapshot, viewerSnapshot } from "../graph/index.ts";
import { listPublished } from "../posts/index.ts";
import { ENTRY_BYTES, entryOf, packEntries } from "./entries.ts";
import { rebuilds } from "./metrics.ts";
import { timelineEntries } from "./store.ts";
import { CAPACITY } from "./timeline-scripts.ts";
import type { Built, Line, Timelines } from "./timelines.ts";

type BuilderContext = Pick<Context, "bulkhead"> & { redis: RedisStore };

/** Milliseconds between two looks at whether somebody else has finished, and how long that is worth waiting for. */
const LOOK_EVERY = 20;
const PATIENCE = 2_000;

/**
 * Builds lines from Postgres. The list is made first, so that it takes what is pushed from then on; then Postgres is read,
 * and the two are merged. Once, however many ask: in this process they share the work, others wait for who began.
 */
export class Builder {
  readonly #context: BuilderContext;
  readonly #timelines: Timelines;
  readonly #working = new Map<string, Promise<boolean>>();

  constructor(context: BuilderContext, timelines: Timelines) {
    this.#context = context;
    this.#timelines = timelines;
  }

  /**
   * @returns false if it could not be kept, because a change is under way that Postgres does not show yet, or whoever
   * builds it is too slow: Postgres is then to be read instead.
   */
  build(line: Line, id: string, options: { anew?: boolean } = {}): Promise<boolean> {
    const key = `${line}:${id}`;
    const working = this.#working.get(key);
    if (working) return working;
    const work = this.#build(line, id, options).finally(() => this.#working.delete(key));
    this.#working.set(key, work);
    return work;
  }

  async #build(line: Line, id: string, options: { anew?: boolean }): Promise<boolean> {
    const deadline = performance.now() + PATIENCE;
    for (;;) {
      const epoch = this.#context.redis.epoch();
      const begun = await this.#timelines.begin(line, id, options);
      if (begun === "built") return true;
      if (begun === "emptied") return false;
      if (begun !== "busy") return this.#finish(line, id, begun.token, epoch);
      if (performance.now() > deadline) return false;
      await delay(LOOK_EVERY);
    }
  }

  async #finish(line: Line, id: string, token: string, epoch: string): Promise<boolean> {
    let built: Built;
    try {
      built = await this.#context.bulkhead.run((db) => readers[line](db, id));
    } catch (error) {
      // Too many at once, say: the next who asks need not wait until this one is given up for dead.
      await this.#timelines.abandon(line, id, token).catch(() => undefined);
      throw error;
    }
    rebuilds.inc();
    return this.#timelines.finish(line, id, token, epoch, built);
  }
}

const readers: Record<Line, (db: Db, id: string) => Promise<Built>> = {
  async timeline(db, viewerId) {
    // The relations first: what is known of them is then known of the posts too.
    const snapshot = await viewerSnapshot(db, viewerId);
    const entries = await timelineEntries(db, viewerId, CAPACITY + 1);
    return { seen: parsePgSnapshot(snapshot.seen), snapshot: encodeSnapshot(snapshot), ...contentOf(entries) };
  },
  async author(db, authorId) {
    const { seen } = await db.selectNoFrom(PG_SNAPSHOT.as("seen")).executeTakeFirstOrThrow();
    const posts = await listPublished(db, { userId: authorId, limit: CAPACITY + 1, after: null });
    const entries = packEntries(...posts.map(({ published_at, id }) => entryOf({ at: published_at, id })));
    return { seen: parsePgSnapshot(seen), snapshot: Buffer.alloc(0), ...contentOf(entries) };
  },
};

/** @param entries one more than a line holds, where there are more. */
function contentOf(entries: Buffer): Pick<Built, "entries" | "complete"> {
  const whole = CAPACITY * ENTRY_BYTES;
  return { entries: entries.subarray(0, whole), complete: entries.length <= whole };
}
