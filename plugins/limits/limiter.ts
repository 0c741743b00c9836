import { LRUCache } from "lru-cache";
import type { Context } from "../../src/context.ts";
import { inTransaction } from "../../src/db/transaction.ts";
import type { LimitName } from "../../src/http/types.ts";
import { type RedisStore, RedisUnavailableError } from "../../src/redis/redis.ts";
import { Log, type Outcome, type Rule, type Standing } from "./log.ts";
import { FORGET, GIVE_BACK, LOOK, TAKE } from "./scripts.ts";

declare module "../../src/notices.ts" {
  interface NoticeTopics {
    /** What one subject has used of one limit is forgotten. */
    "limits.reset": "limit subject";
  }
}

/** Whom a limit is about: names a key of Redis, so it ends in two hexadecimal digits. */
export type Subject = string;

/** Names the log of one subject for one limit. */
export interface LogName {
  limit: LimitName | "login_account";
  subject: Subject;
}

export interface Place extends Pick<Outcome, "taken" | "wait"> {
  standing: ShownStanding;
  /** Frees it, or so much of it. Without effect on one that was not taken, and after the second time. */
  giveBack(amount: number): Promise<ShownStanding>;
}

export interface ShownStanding {
  used: number;
  /** Unix time, milliseconds: when some of it is free again; now where nothing is used. */
  resetAt: number;
}

/** Where places are taken and given back. */
export interface Limiter {
  take(name: LogName, rule: Rule, amount: number): Promise<Place>;
  look(name: LogName, rule: Rule): Promise<ShownStanding>;
  /** Forgets what this process keeps of it. */
  forgetHere(name: LogName): void;
}

/** Entries of 16 bytes that logs in process may have in all, each log counting for ten more. */
const MOST_ENTRIES = 2_000_000;
const LOG_COST = 10;

/**
 * In this process alone, by a clock that nobody sets. Logs that are not asked for are forgotten when there are too many.
 */
export class ProcessLimiter implements Limiter {
  readonly #logs = new LRUCache<string, Log>({ maxSize: MOST_ENTRIES, sizeCalculation: costOf });
  readonly #clock: () => number;

  /** @param clock microseconds; it may begin anywhere, and never goes back. */
  constructor(clock: () => number = () => Math.floor(performance.now() * 1_000)) {
    this.#clock = clock;
  }

  async take(name: LogName, rule: Rule, amount: number): Promise<Place> {
    const log = this.#logs.get(keyOf(name)) ?? new Log();
    const { taken, at, wait, ...standing } = log.take(this.#clock(), rule, amount);
    this.#logs.set(keyOf(name), log);
    const giveBack = async (freed: number) => shown(this.giveBack(name, rule, at, freed), Date.now());
    return { taken, wait: wait / 1_000, standing: shown(standing, Date.now()), giveBack };
  }

  async look(name: LogName, rule: Rule): Promise<ShownStanding> {
    const standing = this.#logs.get(keyOf(name))?.look(this.#clock(), rule);
    return shown(standing ?? { now: 0, used: 0, next: 0 }, Date.now());
  }

  forgetHere(name: LogName): void {
    this.#logs.delete(keyOf(name));
  }

  /** Keeps what Redis let in, for when it does not answer. @returns by which it is given back. */
  add(name: LogName, rule: Rule, amount: number): number {
    const log = this.#logs.get(keyOf(name)) ?? new Log();
    const at = log.add(this.#clock(), rule, amount);
    this.#logs.set(keyOf(name), log);
    return at;
  }

  giveBack(name: LogName, rule: Rule, at: number, amount: number): Standing {
    const log = this.#logs.get(keyOf(name)) ?? new Log();
    return log.giveBack(this.#clock(), rule, at, amount);
  }
}

/**
 * In Redis, for all servers together. While it does not answer each server goes by what it let in itself; when it comes
 * back what its log holds counts, and a FLUSHALL forgets that.
 */
export class SharedLimiter implements Limiter {
  readonly #redis: RedisStore;
  readonly #own = new ProcessLimiter();

  constructor(redis: RedisStore) {
    this.#redis = redis;
  }

  async take(name: LogName, rule: Rule, amount: number): Promise<Place> {
    const answer = await this.#run(TAKE, name, rule, [rule.most, amount]);
    if (answer === null) return this.#own.take(name, rule, amount);
    const [now, used, next, at = 0, wait = 0] = answer;
    const taken = at > 0;
    const ownAt = taken ? this.#own.add(name, rule, amount) : 0;
    const giveBack = async (freed: number) => {
      const own = this.#own.giveBack(name, rule, ownAt, freed);
      const left = await this.#run(GIVE_BACK, name, rule, [at, freed]);
      if (left === null) return shown(own, Date.now());
      return shown({ now: left[0], used: left[1], next: left[2] }, left[0] / 1_000);
    };
    return { taken, wait: wait / 1_000, standing: shown({ now, used, next }, now / 1_000), giveBack };
  }

  async look(name: LogName, rule: Rule): Promise<ShownStanding> {
    const answer = await this.#run(LOOK, name, rule, []);
    if (answer === null) return this.#own.look(name, rule);
    const [now, used, next] = answer;
    return shown({ now, used, next }, now / 1_000);
  }

  forgetHere(name: LogName): void {
    this.#own.forgetHere(name);
  }

  /** Null while Redis does not answer. */
  async #run(script: typeof TAKE, name: LogName, { window, slot }: Rule, args: readonly number[]) {
    try {
      return (await this.#redis.run(script, [redisKey(this.#redis, name)], [window, slot, ...args])) as [
        number,
        number,
        number,
        ...number[],
      ];
    } catch (error) {
      if (error instanceof RedisUnavailableError) return null;
      throw error;
    }
  }
}

/** The limits of a process: in Redis where one is configured. */
export function openLimiter({ redis, notices }: Pick<Context, "redis" | "notices">): Limiter {
  const limiter = redis === null ? new ProcessLimiter() : new SharedLimiter(redis);
  notices.on("limits.reset", (id) => {
    const [limit, subject] = id.split(" ") as [LogName["limit"], Subject];
    limiter.forgetHere({ limit, subject });
  });
  return limiter;
}

/** Forgets what was taken, here and on all servers. @throws RedisUnavailableError */
export async function resetLimit(
  { db, redis, notices }: Pick<Context, "db" | "redis" | "notices">,
  name: LogName,
): Promise<void> {
  await redis?.run(FORGET, [redisKey(redis, name)], []);
  await inTransaction(db, (tx) => notices.tell(tx, "limits.reset", `${name.limit} ${name.subject}`));
}

function redisKey(redis: RedisStore, { limit, subject }: LogName): string {
  return redis.key(`limit-${limit}`, subject);
}

function keyOf({ limit, subject }: LogName): string {
  return `${limit} ${subject}`;
}

function costOf(log: Log): number {
  return log.entries + LOG_COST;
}

/** @param wall unix time of the standing, in milliseconds. */
function shown({ used, next }: Standing, wall: number): ShownStanding {
  return { used, resetAt: wall + next / 1_000 };
}
