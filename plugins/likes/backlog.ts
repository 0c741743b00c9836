import { setTimeout as delay } from "node:timers/promises";
import type { Context } from "../../src/context.ts";
import { inTransaction } from "../../src/db/transaction.ts";
import { tooBusy } from "../../src/http/errors.ts";
import { backlog } from "./metrics.ts";
import { rollUpSome } from "./roll-up.ts";
import { countLog } from "./store.ts";

/** Rows of the log from which on those who append roll it up themselves, and likes wait for them. */
export const BOUND = 50_000;
/** Milliseconds that a like waits then. */
const PATIENCE = 1_000;
/** Times the bound from which on likes are refused: the longer the log, the slower is every read. */
const FULL = 4;
/** Seconds after which to ask again then. */
const RETRY_AFTER = 5;
/** Milliseconds between two looks of a process that appends. */
const LOOK_EVERY = 1_000;
/** Seconds until a job that is enqueued may be taken: meanwhile it is the only one, of all processes. */
const COLLECTS_FOR = 1;

type BacklogContext = Pick<Context, "db" | "emit" | "enqueue" | "log">;

/** Looks how long the log is, and sets the gauge. @returns rows, at most as many as are too many. */
export async function tellBacklog(db: Context["db"], bound = BOUND): Promise<number> {
  const rows = await countLog(db, FULL * bound);
  backlog.set(rows);
  return rows;
}

/**
 * What a process that appends to the log does about it, once a second at most: it wakes a worker, by a job that is enqueued
 * in a transaction of its own (in each like's it would cost more than the like), and takes its turn where no worker keeps up.
 */
export class Backlog {
  readonly #context: BacklogContext;
  readonly #bound: number;
  readonly #patience: number;
  readonly #ending = new AbortController();
  /** There were as many rows as may be at the last look. */
  #full = false;
  /** Something was appended since the last look. */
  #more = false;
  #watching: Promise<void> | undefined;
  #turn: Promise<void> | undefined;

  constructor(context: BacklogContext, { bound = BOUND, patience = PATIENCE } = {}) {
    this.#context = context;
    this.#bound = bound;
    this.#patience = patience;
  }

  /**
   * Waits while this process takes its turn: a log that only grows would make every read slower than the one before. Not for
   * long: a roll-up that hangs or fails makes likes slow, and no like fails by it until the log is full.
   * @throws 503 while it is.
   */
  async room(): Promise<void> {
    if (this.#full) throw tooBusy({}, { retryAfter: RETRY_AFTER });
    if (!this.#turn) return;
    const ended = new AbortController();
    const patience = delay(this.#patience, undefined, { ref: false, signal: ended.signal }).catch(() => undefined);
    await Promise.race([this.#turn, patience]);
    ended.abort();
  }

  /** To be told of each row that is committed. */
  appended(): void {
    this.#more = true;
    this.#watching ??= this.#watch();
  }

  /** Nothing more is begun; what has been is waited for. */
  async stop(): Promise<void> {
    this.#ending.abort();
    await this.#watching;
    await this.#turn;
  }

  async #watch(): Promise<void> {
    const { signal } = this.#ending;
    while ((this.#more || this.#full) && !signal.aborted) {
      this.#more = false;
      await this.#look();
      await delay(LOOK_EVERY, undefined, { ref: false, signal }).catch(() => undefined);
    }
    this.#watching = undefined;
  }

  async #look(): Promise<void> {
    const { db, enqueue } = this.#context;
    await this.#warning(async () => {
      // Whoever finds one that waits has committed before it is taken, so it takes these rows too.
      await inTransaction(db, (tx) =>
        enqueue(tx, "likes.roll_up", {}, { delaySeconds: COLLECTS_FOR, unlessWaiting: true }),
      );
      const rows = await tellBacklog(db, this.#bound);
      this.#full = rows >= FULL * this.#bound;
      if (rows <= this.#bound || this.#ending.signal.aborted) return;
      // Not waited for: it is to be seen how long the log gets while it hangs.
      this.#turn ??= this.#warning(() => this.#takeTurn()).finally(() => {
        this.#turn = undefined;
      });
    });
  }

  async #takeTurn(): Promise<void> {
    while (!this.#ending.signal.aborted && (await countLog(this.#context.db, this.#bound + 1)) > this.#bound) {
      if ((await rollUpSome(this.#context)) === 0) return;
    }
  }

  /** Never rejects: the clock enqueues the job too, and the next like looks again. */
  async #warning(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#context.log.warn({ err: error }, "the log of likes could not be rolled up");
    }
  }
}
