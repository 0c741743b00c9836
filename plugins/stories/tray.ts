import type { Context } from "../../src/context.ts";
import { coalesce } from "../../src/db/coalesce.ts";
import { isReplyError, RedisUnavailableError } from "../../src/redis/redis.ts";
import { TrayCache } from "./tray-cache.ts";
import { readTray, type TrayEntry } from "./tray-store.ts";

type TrayContext = Pick<Context, "bulkhead" | "redis" | "log" | "notices">;

/** One viewer's requests that are under way. */
interface Asking {
  read: (viewerIds: readonly string[]) => Promise<Map<string, TrayEntry[]>>;
  count: number;
}

/** Trays: from Redis where there is one that answers, else from Postgres. */
export class Trays {
  readonly #context: TrayContext;
  readonly #cache: TrayCache | null;
  readonly #asking = new Map<string, Asking>();

  constructor(context: TrayContext) {
    this.#context = context;
    this.#cache = context.redis && new TrayCache(context.redis);
  }

  /**
   * Of one viewer one read at a time, and those who ask meanwhile share the next: what they have done by then is in it.
   * @throws 503 when too many have to be read from Postgres at once.
   */
  async of(viewerId: string): Promise<TrayEntry[]> {
    const asking = this.#asking.get(viewerId) ?? {
      read: coalesce(async () => new Map([[viewerId, await this.#read(viewerId)]]), { batch: 1 }),
      count: 0,
    };
    this.#asking.set(viewerId, asking);
    asking.count++;
    try {
      return (await asking.read([viewerId])).get(viewerId) ?? [];
    } finally {
      if (--asking.count === 0) this.#asking.delete(viewerId);
    }
  }

  async #read(viewerId: string): Promise<TrayEntry[]> {
    // Who does not hear of a change that Redis was not told of may not show what lies there.
    const kept = this.#context.notices.live ? await this.#withRedis((cache) => cache.get(viewerId)) : null;
    if (kept?.entries) return kept.entries;
    const asked = performance.now();
    const tray = await this.#context.bulkhead.run((db) => readTray(db, viewerId));
    if (kept) await this.#withRedis((cache) => cache.put(viewerId, tray, { epoch: kept.epoch, asked }));
    return tray.entries;
  }

  /** @returns null where there is none, or it does not answer. */
  async #withRedis<T>(work: (cache: TrayCache) => Promise<T>): Promise<T | null> {
    if (this.#cache === null) return null;
    try {
      return await work(this.#cache);
    } catch (error) {
      const unavailable = error instanceof RedisUnavailableError;
      if (!unavailable && !isReplyError(error)) throw error;
      this.#context.log[unavailable ? "debug" : "warn"]({ err: error }, "a tray comes from Postgres");
      return null;
    }
  }
}
