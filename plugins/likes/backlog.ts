import type { Context } from "../../src/context.ts";
import { inTransaction } from "../../src/db/transaction.ts";
import { backlog } from "./metrics.ts";
import { rollUpSome } from "./roll-up.ts";
import { countLog } from "./store.ts";

/** Rows of the log from which on those who append roll it up themselves, and likes wait for them. */
export const BOUND = 50_000;
/** Milliseconds between two looks of a process that appends. */
const LOOK_EVERY = 1_000;

type BacklogContext = Pick<Context, "db" | "emit" | "enqueue" | "log">;

/** Looks how long the log is, and sets the gauge. @returns rows, at most one more than the bound. */
export async function tellBacklog(db: Context["db"]): Promise<number> {
  const rows = await countLog(db, BOUND + 1);
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
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;
  #turn: Promise<void> | undefined;

  constructor(context: BacklogContext, bound = BOUND) {
    this.#context = context;
    this.#bound = bound;
  }

  /** Waits while this process takes its turn: a log that only grows would make every read slower than the one before. */
  async room(): Promise<void> {
    await this.#turn;
  }

  /** To be told of each row. */
  appended(): void {
    this.#timer ??= setTimeout(() => {
      this.#looking = this.#look();
    }, LOOK_EVERY).unref();
  }

  /** Nothing more is begun; what has been is waited for. */
  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#looking;
  }

  async #look(): Promise<void> {
    const { db, enqueue } = this.#context;
    await this.#warning(async () => {
      await inTransaction(db, (tx) => enqueue(tx, "likes.roll_up", {}));
      if ((await tellBacklog(db)) <= this.#bound) return;
      this.#turn = this.#warning(() => this.#takeTurn());
      await this.#turn;
    });
    this.#turn = undefined;
    this.#timer = undefined;
  }

  async #takeTurn(): Promise<void> {
    while ((await countLog(this.#context.db, this.#bound + 1)) > this.#bound) {
      if ((await rollUpSome(this.#context)) === 0) return;
    }
  }

  /** No like fails by it: the clock enqueues the job too, and the next like looks again. */
  async #warning(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#context.log.warn({ err: error }, "the log of likes could not be rolled up");
    }
  }
}
