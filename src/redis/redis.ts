import { setTimeout as delay } from "node:timers/promises";
import { sql } from "kysely";
import type { Logger } from "pino";
import { v4 as randomId } from "uuid";
import type { Config } from "../config/schema.ts";
import { describe, type Role } from "../db/database.ts";
import type { Db, Tx } from "../db/transaction.ts";
import { DependencyError } from "../errors.ts";
import { oncePer } from "../log.ts";
import type { Notices } from "../notices.ts";
import { createBreaker } from "./breaker.ts";
import { belongsToCluster, identityOf, openCluster, openSingle, type RedisClient, untilReady } from "./client.ts";
import { forgetRedis, openEpoch } from "./epoch.ts";
import { FILL_GENERATION, MARK_KEPT, newGeneration } from "./generation.ts";
import type { Script } from "./scripts.ts";

/** Redis is down, hangs, or what it holds cannot be trusted at this moment: Postgres is to be asked instead. */
export class RedisUnavailableError extends DependencyError {}

/**
 * What may be done with Redis. Every call may throw RedisUnavailableError, within half a second, and at once while Redis
 * is known to be down.
 */
export interface RedisStore {
  /** The name of a key: keys of one id, and of others whose ids end alike, lie on one server of a cluster. */
  key(kind: string, id: string): string;
  /** Of the generation of keys that lie with those of this id. */
  generationKey(id: string): string;
  /** Where there are none, in a Redis that is new or was emptied: see src/redis/generation.ts. */
  beginGenerations(): Promise<void>;
  run(script: Script, keys: readonly string[], args: readonly (string | number | Buffer)[]): Promise<unknown>;
  get(keys: readonly string[]): Promise<(Buffer | null)[]>;
  /** See src/redis/epoch.ts: what is kept must bear it, and what bears another is void. */
  epoch(): string;
  /**
   * Takes out of Redis what a transaction makes untrue, before it commits: `work` is given its id. If Redis does not
   * answer, all that it holds becomes void with the commit.
   */
  invalidate(tx: Tx, work: (xid: string) => Promise<unknown>): Promise<void>;
  /** For operators: walks over the names of all keys of a kind, some of them perhaps twice. */
  scan(kind: string): AsyncIterable<string[]>;
  /** The connections, for what is asked of each server by name. */
  client(): RedisClient;
  ping(): Promise<void>;
  close(): Promise<void>;
}

/** Milliseconds between two looks at whether this is still the Redis and the epoch that they were. */
const LOOK_EVERY = 1_000;
/** Milliseconds that a start waits for a connection. */
const PATIENCE = 1_000;

/** What a server answers that is down for what was asked, though it does answer. */
const DOWN_REPLIES = /^(LOADING|CLUSTERDOWN|MASTERDOWN|READONLY|TRYAGAIN|OOM|NOREPLICAS|MISCONF|BUSY|UNKILLABLE)\b/;

/** Opens the Redis of the configuration, and goes on without if it is down. Null where none is configured. */
export async function openRedis(options: {
  config: Config;
  log: Logger;
  db: Db;
  notices: Notices;
  role: Role;
}): Promise<RedisStore | null> {
  const { config, log, db, notices, role } = options;
  if (config.redis.url === null) {
    if (role !== "command" && (await forgetRedis(db))) {
      log.warn("Redis was in use until now; if others still use it, TINTYPE_REDIS_URL has to be set here too");
    }
    return null;
  }
  const store = new Store(config.redis.url, config.redis.key_prefix, { log, db, notices });
  await store.start();
  return store;
}

class Store implements RedisStore {
  readonly #url: string;
  readonly #prefix: string;
  readonly #deps: { log: Logger; db: Db; notices: Notices };
  readonly #epoch;
  readonly #breaker;
  readonly #complain: (error: Error) => void;
  readonly #stopHearing: () => void;
  readonly #closing = new AbortController();
  /** Transactions that have begun a new epoch already. */
  readonly #ended = new WeakSet<Tx>();
  /** Of transactions that invalidate, their ids. */
  readonly #xids = new WeakMap<Tx, string>();
  #beginning: Promise<void> | null = null;
  #client: RedisClient;
  /** Whether the process at the other end is known to be the one that was told of every change. */
  #recognized = false;
  #looking: Promise<void> = Promise.resolve();

  constructor(url: string, prefix: string, deps: { log: Logger; db: Db; notices: Notices }) {
    this.#url = url;
    this.#prefix = prefix;
    this.#deps = deps;
    this.#epoch = openEpoch(deps.db);
    this.#breaker = createBreaker("redis", deps.log, isOutage);
    this.#complain = oncePer(10_000, (error) => deps.log.warn({ err: error }, "Redis"));
    const voided = () => {
      this.#epoch.forget();
      void this.#look();
    };
    const stops = [deps.notices.on("redis.void", voided), deps.notices.onGap(voided)];
    this.#stopHearing = () => {
      for (const stop of stops) stop();
    };
    this.#client = this.#watch(openSingle(url));
  }

  async start(): Promise<void> {
    await untilReady(this.#client, PATIENCE);
    await this.#look();
    if (!this.#recognized) this.#deps.log.warn("Redis does not answer; feeds come from Postgres until it does");
    void this.#keepLooking();
  }

  key(kind: string, id: string): string {
    return `${this.#prefix}${kind}:{t${tagOf(id)}}:${id}`;
  }

  generationKey(id: string): string {
    return this.#generationKeyOf(tagOf(id));
  }

  beginGenerations(): Promise<void> {
    this.#beginning ??= this.#beginGenerations().finally(() => {
      this.#beginning = null;
    });
    return this.#beginning;
  }

  async run(script: Script, keys: readonly string[], args: readonly (string | number | Buffer)[]): Promise<unknown> {
    return this.#ask(async () => {
      const rest = [keys.length, ...keys, ...args] as const;
      try {
        return await this.#client.evalshaBuffer(script.sha, ...rest);
      } catch (error) {
        if (!(error instanceof Error && error.message.startsWith("NOSCRIPT"))) throw error;
        return this.#client.evalBuffer(script.lua, ...rest);
      }
    });
  }

  async get(keys: readonly string[]): Promise<(Buffer | null)[]> {
    if (keys.length === 0) return [];
    const client = this.#client;
    const read = () =>
      "nodes" in client ? Promise.all(keys.map((key) => client.getBuffer(key))) : client.mgetBuffer(...keys);
    return (await this.#ask(read)) as (Buffer | null)[];
  }

  epoch(): string {
    const epoch = this.#epoch.current();
    if (epoch === null) throw new RedisUnavailableError("it is not known what of Redis is still true");
    return epoch;
  }

  async invalidate(tx: Tx, work: (xid: string) => Promise<unknown>): Promise<void> {
    if (this.#ended.has(tx)) return;
    const xid = this.#xids.get(tx) ?? (await currentXid(tx));
    this.#xids.set(tx, xid);
    try {
      await work(xid);
    } catch (error) {
      // Whatever it is: what could not be told must not be believed.
      this.#complain(error instanceof Error ? error : new Error(String(error)));
      this.#ended.add(tx);
      await this.#epoch.end(tx, Number(xid));
      await this.#deps.notices.tell(tx, "redis.void", "");
    }
  }

  async *scan(kind: string): AsyncIterable<string[]> {
    const match = `${this.#prefix}${kind}:{t*`;
    const nodes = "nodes" in this.#client ? this.#client.nodes("master") : [this.#client];
    try {
      for (const node of nodes) yield* node.scanStream({ match, count: 1_000 });
    } catch (error) {
      throw unavailable(error);
    }
  }

  client(): RedisClient {
    return this.#client;
  }

  async ping(): Promise<void> {
    await this.#ask(() => this.#client.ping());
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#stopHearing();
    this.#breaker.shutdown();
    this.#client.disconnect();
    await this.#looking;
  }

  async #ask(work: () => Promise<unknown>): Promise<unknown> {
    if (!this.#recognized || this.#client.status !== "ready") throw new RedisUnavailableError("Redis is not connected");
    try {
      return await this.#breaker.fire(work);
    } catch (error) {
      throw unavailable(error);
    }
  }

  #watch<Client extends RedisClient>(client: Client): Client {
    client.on("error", this.#complain);
    const forget = () => {
      this.#recognized = false;
    };
    client.on("close", forget);
    client.on("ready", () => void this.#look());
    // Of a cluster: one came or went, and others may hold its keys now.
    client.on("-node", () => void this.#look());
    client.on("+node", () => void this.#look());
    return client;
  }

  async #keepLooking(): Promise<void> {
    while (!this.#closing.signal.aborted) {
      await delay(this.#epoch.current() === null ? LOOK_EVERY / 20 : LOOK_EVERY, undefined, {
        signal: this.#closing.signal,
      }).catch(() => undefined);
      await this.#look();
    }
  }

  /** One look after the other: who asks during one wants what comes after it. */
  #look(): Promise<void> {
    this.#looking = this.#looking.then(() => this.#lookOnce());
    return this.#looking;
  }

  async #lookOnce(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    try {
      const identity = await this.#identify();
      // Postgres may not answer: who was recognized before still is who it was.
      await (identity === null ? this.#epoch.refresh() : this.#epoch.recognize(identity));
      if (identity !== null && !this.#recognized) await this.beginGenerations();
      this.#recognized = identity !== null;
    } catch (error) {
      this.#complain(error instanceof Error ? error : new Error(String(error)));
    }
  }

  async #beginGenerations(): Promise<void> {
    const keys = Array.from({ length: TAGS }, (_, tag) => this.#generationKeyOf(tagName(tag)));
    // First, so that what was computed before Redis was emptied again is not taken for true after it.
    const mark = `new ${randomId()}`;
    await Promise.all(keys.map((key) => this.#client.set(key, mark, "PX", MARK_KEPT, "NX")));
    const generation = await newGeneration(this.#deps.db);
    await Promise.all(keys.map((key) => this.#client.eval(FILL_GENERATION.lua, 1, key, mark, generation)));
  }

  #generationKeyOf(tag: string): string {
    return `${this.#prefix}generation:{t${tag}}`;
  }

  /** Null while it does not say who it is. */
  async #identify(): Promise<string | null> {
    try {
      if (await belongsToCluster(this.#client)) {
        if (this.#closing.signal.aborted) return null;
        this.#client.disconnect();
        this.#client = this.#watch(openCluster(this.#url));
        await untilReady(this.#client, PATIENCE);
      }
      // Whoever uses another prefix or database tells of changes where nobody looks.
      const place = `${new URL(this.#url).pathname} ${this.#prefix}`;
      return `${await identityOf(this.#client)} ${place}`;
    } catch (error) {
      this.#recognized = false;
      this.#complain(error instanceof Error ? error : new Error(String(error)));
      return null;
    }
  }
}

async function currentXid(tx: Tx): Promise<string> {
  const { rows } = await sql<{ xid: string }>`SELECT pg_current_xact_id()::text AS xid`.execute(tx);
  return rows[0]?.xid ?? "";
}

/** By which keys are spread over a cluster. */
const TAGS = 256;

/** The last byte of a UUID, which is random. */
function tagOf(id: string): string {
  return tagName(Number.parseInt(id.slice(-2), 16));
}

function tagName(tag: number): string {
  return String(tag).padStart(3, "0");
}

/** What is to be thrown for an error of the client: a mistake of ours stays what it is. */
function unavailable(error: unknown): unknown {
  if (!isOutage(error)) return error;
  return new RedisUnavailableError(`Redis does not answer: ${describe(error)}`, { cause: error });
}

function isOutage(error: unknown): boolean {
  return !isReplyError(error) || DOWN_REPLIES.test(error.message);
}

/** Whether Redis answered, and refused: for want of permission, say. */
export function isReplyError(error: unknown): error is Error {
  return error instanceof Error && error.name === "ReplyError";
}
