import { LRUCache } from "lru-cache";
import type { Context } from "../context.ts";
import type { Db, Tx } from "../db/transaction.ts";
import type { NoticeTopic } from "../notices.ts";
import { endEpochOfOthers } from "./epoch.ts";
import { KeptValues } from "./kept-values.ts";
import { RedisUnavailableError } from "./redis.ts";

/** Rows as Postgres has them, beside what the statement saw. */
export interface Loaded<Row> {
  /** `pg_current_snapshot()` of the statement. */
  snapshot: string;
  /** By id; those that are not there are left out. */
  rows: ReadonlyMap<string, Row>;
}

export interface RowCacheOptions<Row, Hot> {
  /** Of the keys in Redis. */
  name: string;
  /** Tells that the row of this id changed. */
  topic: NoticeTopic;
  /** Seconds that a row lies in Redis. */
  ttl: number;
  /** How many lie in the process. */
  most: number;
  load(db: Db, ids: readonly string[]): Promise<Loaded<Row>>;
  /** What the process keeps of a row, which came through JSON. */
  thaw(row: Row): Hot;
}

/** A read that is under way, with what changed meanwhile: that may be used for who asked before, and not be kept. */
interface Read {
  changed: Set<string>;
  gap: boolean;
}

/**
 * Rows by id: in the process, else in Redis, else from Postgres. What changes a row calls `drop` in its transaction, while
 * it holds the row's lock, and `forget` after the commit: then it shows at once here, and within a second on other servers.
 */
export class RowCache<Row, Hot extends object> {
  readonly #context: Pick<Context, "redis" | "notices" | "bulkhead">;
  readonly #options: RowCacheOptions<Row, Hot>;
  readonly #kept: KeptValues | null;
  readonly #local: LRUCache<string, Hot>;
  readonly #reads = new Set<Read>();

  constructor(context: Pick<Context, "redis" | "notices" | "bulkhead">, options: RowCacheOptions<Row, Hot>) {
    this.#context = context;
    this.#options = options;
    this.#kept = context.redis && new KeptValues(context.redis, options.name);
    this.#local = new LRUCache({ max: options.most });
    context.notices.on(options.topic, (id) => this.forget(id));
    context.notices.onGap(() => {
      this.#local.clear();
      for (const read of this.#reads) read.gap = true;
    });
  }

  /** @returns those that are there, in no order. */
  async get(ids: readonly string[]): Promise<Map<string, Hot>> {
    const found = new Map<string, Hot>();
    const missing: string[] = [];
    const live = this.#context.notices.live;
    for (const id of ids) {
      const hot = live ? this.#local.get(id) : undefined;
      if (hot) found.set(id, hot);
      else missing.push(id);
    }
    if (missing.length === 0) return found;
    const read: Read = { changed: new Set(), gap: !live };
    this.#reads.add(read);
    try {
      // Before Postgres is asked: what is kept must not bear an epoch that began after what it holds was read.
      const { epoch, rows } = await this.#fromRedis(missing);
      for (const [id, row] of rows) this.#keep(read, found, id, row);
      const rest = missing.filter((id) => !found.has(id));
      for (const [id, row] of await this.#fromPostgres(rest, epoch)) this.#keep(read, found, id, row);
    } finally {
      this.#reads.delete(read);
    }
    return found;
  }

  /** To be called in the transaction that changes the row, behind its lock and before it commits. */
  async drop(tx: Tx, id: string): Promise<void> {
    const { redis, notices } = this.#context;
    if (redis === null) await endEpochOfOthers(tx, notices);
    else await redis.invalidate(tx, async (xid) => this.#kept?.drop(id, xid));
    // Also without Redis: others that have one keep the row in their processes.
    await notices.tell(tx, this.#options.topic, id);
  }

  /** To be called after the commit. */
  forget(id: string): void {
    this.#local.delete(id);
    for (const read of this.#reads) read.changed.add(id);
  }

  #keep(read: Read, found: Map<string, Hot>, id: string, row: Row): void {
    const hot = this.#options.thaw(row);
    found.set(id, hot);
    if (!read.gap && !read.changed.has(id)) this.#local.set(id, hot);
  }

  /** The epoch is null while Redis does not answer: then it is not asked to keep anything either. */
  async #fromRedis(ids: readonly string[]): Promise<{ epoch: string | null; rows: [string, Row][] }> {
    if (this.#kept === null) return { epoch: null, rows: [] };
    try {
      const { epoch, values } = await this.#kept.get(ids);
      return { epoch, rows: [...values].map(([id, value]): [string, Row] => [id, JSON.parse(value)]) };
    } catch (error) {
      if (error instanceof RedisUnavailableError) return { epoch: null, rows: [] };
      throw error;
    }
  }

  async #fromPostgres(ids: readonly string[], epoch: string | null): Promise<Iterable<[string, Row]>> {
    if (ids.length === 0) return [];
    const { load, ttl } = this.#options;
    const { rows, snapshot } = await this.#context.bulkhead.run((db) => load(db, ids));
    const texts = [...rows].map(([id, row]): [string, string] => [id, JSON.stringify(row)]);
    if (epoch !== null) {
      const keeping = { epoch, snapshot, ttl: ttl * 1_000 };
      await Promise.all(texts.map(([id, json]) => this.#kept?.put(id, json, keeping))).catch((error: unknown) => {
        if (!(error instanceof RedisUnavailableError)) throw error;
      });
    }
    return texts.map(([id, json]) => [id, JSON.parse(json)]);
  }
}
