import { hadEnded, type PgSnapshot, parsePgSnapshot } from "../db/snapshot.ts";
import { knowsGeneration } from "./generation.ts";
import type { RedisStore } from "./redis.ts";
import { defineScript, KNOWS_ALL, pgSnapshotArgs } from "./scripts.ts";

/**
 * KEYS value, last change, generation; ARGV snapshot, value, milliseconds to live. Keeps a value unless a transaction changes,
 * or changed, what it is of and the value does not know of it. @returns 0 if there is no generation.
 */
const PUT = defineScript(`${KNOWS_ALL}
if not knows_all(KEYS[2], KEYS[3], ARGV[1], ARGV[2], ARGV[3]) then return redis.call('EXISTS', KEYS[3]) end
redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5])
return 1`);

const DROP = defineScript(`
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])`);

const MARK = defineScript("redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])");

/**
 * Seconds that it is remembered which transaction changed a thing: longer than any of them lasts, and than it takes to put
 * into Redis what was read of Postgres before.
 */
export const CHANGES_KEPT = 600;

/** What may be kept, and on what grounds. */
export interface Keeping {
  /** Of before Postgres was asked: what is kept must not bear an epoch that began after what it holds was read. */
  epoch: string;
  /** `pg_current_snapshot()` of the statement that read it. */
  snapshot: string;
  /** Milliseconds, a whole number above nought. */
  ttl: number;
}

/**
 * Texts by id in Redis, each made of what one statement of Postgres saw. A change drops what is there in its transaction and
 * leaves that one's id, and nothing is kept that was read before it. All may throw RedisUnavailableError.
 */
export class KeptValues {
  readonly #redis: RedisStore;
  readonly #name: string;

  /** @param name of the keys. */
  constructor(redis: RedisStore, name: string) {
    this.#redis = redis;
    this.#name = name;
  }

  /** @returns those of this epoch, by id, and the epoch to keep others with. */
  async get(ids: readonly string[]): Promise<{ epoch: string; values: Map<string, string> }> {
    const epoch = this.#redis.epoch();
    const head = `${epoch} `;
    const found = await this.#redis.get(ids.map((id) => this.#keys(id)[0]));
    const values = new Map<string, string>();
    for (const [index, id] of ids.entries()) {
      const value = found[index]?.toString();
      if (value?.startsWith(head)) values.set(id, value.slice(head.length));
    }
    return { epoch, values };
  }

  async put(id: string, value: string, { epoch, snapshot, ttl }: Keeping): Promise<void> {
    const keys = [...this.#keys(id), this.#redis.generationKey(id)];
    const seen = pgSnapshotArgs(parsePgSnapshot(snapshot));
    const kept = await this.#redis.run(PUT, keys, [...seen, `${epoch} ${value}`, ttl]);
    // Nobody waits for it: who reads next finds it there.
    if (kept === 0) this.#redis.beginGenerations().catch(() => undefined);
  }

  /** For a change that the transaction `xid` is about to make, or has just made. */
  async drop(id: string, xid: string): Promise<void> {
    await this.#redis.run(DROP, this.#keys(id), [xid, CHANGES_KEPT]);
  }

  /** Of the value, and of what remembers its last change. */
  #keys(id: string): [string, string] {
    return [this.#redis.key(this.#name, id), this.#redis.key(`${this.#name}-changed`, id)];
  }
}

/**
 * Of things by id, which transaction changed each last. It voids values that many keep of one thing, and that are too many to
 * be dropped: who reads such a value asks whether it knows of the changes. All may throw RedisUnavailableError.
 */
export class ChangeMarks {
  readonly #redis: RedisStore;
  readonly #name: string;

  constructor(redis: RedisStore, name: string) {
    this.#redis = redis;
    this.#name = name;
  }

  /** For a change that the transaction `xid` is about to make. */
  async mark(id: string, xid: string): Promise<void> {
    await this.#redis.run(MARK, [this.#redis.key(this.#name, id)], [xid, CHANGES_KEPT]);
  }

  /**
   * Whether what was read by this snapshot knows of all changes of these things. A mark may lie on another server of a cluster
   * than the value, and be lost without it: hence the generations, which are lost with the marks.
   */
  async areKnownTo(snapshot: PgSnapshot, ids: readonly string[]): Promise<boolean> {
    const generations = [...new Set(ids.map((id) => this.#redis.generationKey(id)))];
    const marks = ids.map((id) => this.#redis.key(this.#name, id));
    const found = await this.#redis.get([...generations, ...marks]);
    return found.every((value, index) => {
      if (index < generations.length) return value !== null && knowsGeneration(snapshot, value.toString());
      return value === null || hadEnded(snapshot, Number(value));
    });
  }
}
