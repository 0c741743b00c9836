import { LRUCache } from "lru-cache";
import type { Logger } from "pino";
import type { Context } from "../../src/context.ts";
import { inTransaction } from "../../src/db/transaction.ts";
import type { LimitName } from "../../src/http/types.ts";
import { oncePer } from "../../src/log.ts";
import { type RedisStore, RedisUnavailableError } from "../../src/redis/redis.ts";
import type { Script } from "../../src/redis/scripts.ts";
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

/** Where places are taken and given back. None of it fails: where Redis does, it is done in this process. */
export interface Limiter {
  take(name: LogName, rule: Rule, amount: number): Promise<Place>;
  look(name: LogName, rule: Rule): Promise<ShownStanding>;
  /** Forgets what this process keeps of it. */
  forgetHere(name: LogName): void;
}

/** Entries of 16 bytes that logs in process may have in all, each log counting for ten more. */
const MOST_ENTRIES = 2_000_000;
const LOG_COST = 10;
/** Places that are to be given back when Redis answers again; more of them count until their window has passed. */
const MOST_OWED = 10_000;

/**
 * In this process alone, by a clock that nobody sets. Logs that are not asked for are forgotten when there are too many.
 */
export class ProcessLimiter implements Limiter {
  readonly #logs: LRUCache<string, Log>;
  readonly #clock: () => number;

  /** @param clock microseconds; it may begin anywhere, and never goes back. */
  constructor({ clock = microseconds, mostEntries = MOST_ENTRIES } = {}) {
    this.#clock = clock;
    this.#logs = new LRUCache({ maxSize: mostEntries, sizeCalculation: (log) => log.entries + LOG_COST });
  }

  async take(name: LogName, rule: Rule, amount: number): Promise<Place> {
    const { taken, at, wait, ...standing } = this.takeNow(name, rule, amount);
    const giveBack = async (freed: number) => shown(this.giveBack(name, rule, at, freed), Date.now());
    return { taken, wait: wait / 1_000, standing: shown(standing, Date.now()), giveBack };
  }

  async look(name: LogName, rule: Rule): Promise<ShownStanding> {
    return shown(this.standing(name, rule), Date.now());
  }

  forgetHere(name: LogName): void {
    this.#logs.delete(keyOf(name));
  }

  takeNow(name: LogName, rule: Rule, amount: number): Outcome {
    return this.#with(name, (log) => log.take(this.#clock(), rule, amount));
  }

  standing(name: LogName, rule: Rule): Standing {
    return this.#with(name, (log) => log.look(this.#clock(), rule));
  }

  /** Microseconds until `amount` more fits; 0 if it does. */
  wait(name: LogName, rule: Rule, amount: number): number {
    return this.#with(name, (log) => log.wait(this.#clock(), rule, amount));
  }

  /** Keeps what was let in elsewhere. @param at microseconds, by `now`. @returns by which it is given back. */
  add(name: LogName, rule: Rule, amount: number, at = this.now()): number {
    return this.#with(name, (log) => log.add(at, rule, amount));
  }

  now(): number {
    return this.#clock();
  }

  giveBack(name: LogName, rule: Rule, at: number, amount: number): Standing {
    return this.#with(name, (log) => log.giveBack(this.#clock(), rule, at, amount));
  }

  #with<Result>(name: LogName, work: (log: Log) => Result): Result {
    const key = keyOf(name);
    const kept = this.#logs.get(key);
    const log = kept ?? new Log();
    const before = kept?.entries ?? 0;
    const result = work(log);
    if (log.entries !== before) {
      // What is set again the cache takes to be as large as ever.
      this.#logs.delete(key);
      if (log.entries > 0) this.#logs.set(key, log);
    }
    return result;
  }
}

/**
 * In Redis, for all servers together. While it does not answer each server goes by what it let in itself; what it lets in
 * then no log of Redis holds, so it counts beside that when Redis is back: of one server's no window ever holds more than
 * the limit. What Redis' log holds counts then. Of one that was emptied, or came back without it, each server knows what
 * it let in itself.
 */
export class SharedLimiter implements Limiter {
  readonly #redis: Scripts;
  readonly #complain: (error: unknown) => void;
  /** All that this process let in, at the time at which it asked Redis: there it counts a little longer. */
  readonly #own = new ProcessLimiter();
  /** That of it which Redis does not know of. */
  readonly #unknown = new ProcessLimiter();
  /** Gives back what could not be given back. */
  readonly #owed: (() => Promise<Answer | null>)[] = [];
  #paying = false;

  constructor(redis: Scripts, log: Pick<Logger, "warn">) {
    this.#redis = redis;
    this.#complain = oncePer(10_000, (error) =>
      log.warn({ err: error }, "Redis refuses to keep limits; until it does each server keeps them for itself"),
    );
  }

  async take(name: LogName, rule: Rule, amount: number): Promise<Place> {
    for (;;) {
      const asked = this.#own.now();
      const most = rule.most - this.#unknown.standing(name, rule).used;
      const answer = await this.#run(TAKE, name, rule, [most, amount]);
      if (answer === null) return this.#takeHere(name, rule, amount);
      const [now, used, next, at = 0, wait = 0] = answer;
      const standing = this.#together(name, rule, { now, used, next });
      if (at === 0) {
        // It fits when either log has become shorter by enough; the other does not become longer by that.
        const here = this.#unknown.wait(name, { ...rule, most: rule.most - used }, amount);
        return { taken: false, wait: Math.min(wait, here || wait) / 1_000, standing, giveBack: async () => standing };
      }
      // Others were let in here meanwhile, for whom Redis did not answer.
      if (used + this.#unknown.standing(name, rule).used > rule.most) {
        await this.#giveBack(name, rule, at, amount);
        continue;
      }
      const ownWait = this.#own.wait(name, rule, amount);
      // Redis does not know of all that was let in here: it was emptied.
      if (ownWait > 0) {
        await this.#giveBack(name, rule, at, amount);
        const own = shown(this.#own.standing(name, rule), Date.now());
        return { taken: false, wait: ownWait / 1_000, standing: own, giveBack: async () => own };
      }
      const ownAt = this.#own.add(name, rule, amount, asked - (asked % rule.slot));
      const giveBack = async (freed: number) => {
        const own = this.#own.giveBack(name, rule, ownAt, freed);
        const left = await this.#giveBack(name, rule, at, freed);
        if (left === null) return shown(own, Date.now());
        return this.#together(name, rule, { now: left[0], used: left[1], next: left[2] });
      };
      return { taken: true, wait: 0, standing, giveBack };
    }
  }

  async look(name: LogName, rule: Rule): Promise<ShownStanding> {
    const answer = await this.#run(LOOK, name, rule, []);
    if (answer === null) return this.#own.look(name, rule);
    const [now, used, next] = answer;
    return this.#together(name, rule, { now, used, next });
  }

  forgetHere(name: LogName): void {
    this.#own.forgetHere(name);
    this.#unknown.forgetHere(name);
  }

  /** Null while Redis does not answer; it is done when it does again. */
  async #giveBack(name: LogName, rule: Rule, at: number, amount: number): Promise<Answer | null> {
    const left = await this.#run(GIVE_BACK, name, rule, [at, amount]);
    // It may have been done. Twice has no effect where each place is kept by itself; of a slot it would free what others
    // took, so that stays taken until the window has passed.
    if (left === null && rule.slot === 1 && this.#owed.length < MOST_OWED) {
      this.#owed.push(() => this.#giveBack(name, rule, at, amount));
    }
    return left;
  }

  async #payOwed(): Promise<void> {
    if (this.#paying) return;
    this.#paying = true;
    for (let give = this.#owed.shift(); give; give = this.#owed.shift()) if ((await give()) === null) break;
    this.#paying = false;
  }

  #takeHere(name: LogName, rule: Rule, amount: number): Place {
    const { taken, at, wait, ...standing } = this.#own.takeNow(name, rule, amount);
    const unknownAt = taken ? this.#unknown.add(name, rule, amount) : 0;
    const giveBack = async (freed: number) => {
      this.#unknown.giveBack(name, rule, unknownAt, freed);
      return shown(this.#own.giveBack(name, rule, at, freed), Date.now());
    };
    return { taken, wait: wait / 1_000, standing: shown(standing, Date.now()), giveBack };
  }

  /** What Redis knows of and what it does not; what this process knows of, where that is more. */
  #together(name: LogName, rule: Rule, { now, used, next }: Standing): ShownStanding {
    const own = this.#own.standing(name, rule);
    const here = this.#unknown.standing(name, rule);
    const soonest = Math.min(...[next, here.next].filter((time) => time > 0));
    const known = { now, used: used + here.used, next: Number.isFinite(soonest) ? soonest : 0 };
    return shown(own.used > known.used ? { ...own, now } : known, now / 1_000);
  }

  /** Null while Redis does not answer, or refuses. */
  async #run(script: Script, name: LogName, rule: Rule, args: readonly number[]): Promise<Answer | null> {
    try {
      const answer = await ask(this.#redis, script, name, rule, args);
      if (this.#owed.length > 0) void this.#payOwed();
      return answer;
    } catch (error) {
      // Of an outage others tell. Who may not use its scripts, say, must not fail what is only limited by them.
      if (!(error instanceof RedisUnavailableError)) this.#complain(error);
      return null;
    }
  }
}

/** What is asked of Redis. */
type Scripts = Pick<RedisStore, "key" | "run">;

/** now, used, next, and what the script adds. */
type Answer = [now: number, used: number, next: number, ...number[]];

async function ask(
  redis: Scripts,
  script: Script,
  name: LogName,
  { window, slot }: Rule,
  args: readonly number[],
): Promise<Answer> {
  return (await redis.run(script, [redisKey(redis, name)], [window, slot, ...args])) as Answer;
}

/** How a limit stands for all servers. @throws RedisUnavailableError */
export async function lookInRedis(redis: Scripts, name: LogName, rule: Rule): Promise<ShownStanding> {
  const [now, used, next] = await ask(redis, LOOK, name, rule, []);
  return shown({ now, used, next }, now / 1_000);
}

/** The limits of a process: in Redis where one is configured. */
export function openLimiter({ redis, notices, log }: Pick<Context, "redis" | "notices" | "log">): Limiter {
  const limiter = redis === null ? new ProcessLimiter() : new SharedLimiter(redis, log);
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

function redisKey(redis: Scripts, { limit, subject }: LogName): string {
  return redis.key(`limit-${limit}`, subject);
}

function keyOf({ limit, subject }: LogName): string {
  return `${limit} ${subject}`;
}

function microseconds(): number {
  return Math.floor(performance.now() * 1_000);
}

/** @param wall unix time of the standing, in milliseconds. */
function shown({ used, next }: Standing, wall: number): ShownStanding {
  return { used, resetAt: wall + next / 1_000 };
}
