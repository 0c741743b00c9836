import { NIL } from "uuid";
import { type Db, inTransaction, type Tx } from "./db/transaction.ts";

/**
 * A number that is kept beside the rows that it counts, so that `counters verify` can hold the two against each other
 * while people go on. What must be none (rows of a thing that is gone) is a counter too: it counts to nought.
 */
export interface Counter {
  /** As operators read it, such as `posts.like_count`. */
  name: string;
  /**
   * Looks at the next `limit` things that have this counter, ordered by their id, those after `after`. In ONE statement: the kept
   * number and the rows are of one snapshot, so that whoever changes both in one transaction is never found in between.
   */
  look(db: Db, page: { after: string; limit: number }): Promise<Look>;
  /**
   * Takes the locks that its writers take, then reads both numbers of one thing in a statement after that, one that sees
   * all that those writers did. Where writers take none it must be one statement, and locks are those that `repair` needs.
   * @returns null for a thing that is gone meanwhile.
   */
  hold(tx: Tx, id: string): Promise<Numbers | null>;
  /**
   * Mends it, in the transaction of `hold` and behind its locks. May do a part of it, where all would be too much for one
   * transaction: it is held and repaired again until the two numbers are the same.
   */
  repair(tx: Tx, id: string, numbers: Numbers): Promise<void>;
}

export interface Look {
  /** How many things were looked at. */
  looked: number;
  /** Id of the last of them; null where none is left. */
  last: string | null;
  /** Ids of those whose numbers differ. */
  wrong: string[];
}

export interface Numbers {
  kept: number;
  actual: number;
}

/** A counter that is wrong. `id` is of the thing that has it: an account, a post, a comment, or the hashtag. */
export interface WrongCounter extends Numbers {
  counter: string;
  id: string;
}

/** What was found of one counter. */
export interface Verified {
  name: string;
  /** Things that were looked at. */
  checked: number;
  wrong: number;
  repaired: number;
}

export interface VerifyCountersOptions {
  /** Without it nothing is changed. */
  repair: boolean;
  signal: AbortSignal;
  onProgress(counter: string, checked: number): void;
  onWrong(found: WrongCounter): void;
}

/** What a page of numbers says. @param rows in the order of their ids, as many as `limit` where there are more. */
export function lookOf(rows: ReadonlyArray<Numbers & { id: string }>, limit: number): Look {
  return {
    looked: rows.length,
    last: rows.length < limit ? null : (rows.at(-1)?.id ?? null),
    wrong: rows.filter(({ kept, actual }) => kept !== actual).map(({ id }) => id),
  };
}

/** Things that one statement looks at. Each has its rows counted, and somebody may have a million of them. */
const PAGE = 500;

/**
 * Holds counters against their rows, one after the other, in pages: memory does not grow with what there is. Whatever
 * differs is looked at again behind locks, and only what differs there is called wrong.
 */
export async function verifyCounters(
  db: Db,
  counters: readonly Counter[],
  options: VerifyCountersOptions,
): Promise<Verified[]> {
  const all: Verified[] = [];
  for (const counter of counters) {
    const verified: Verified = { name: counter.name, checked: 0, wrong: 0, repaired: 0 };
    all.push(verified);
    for (let after: string | null = NIL; after !== null; ) {
      options.signal.throwIfAborted();
      const { looked, last, wrong } = await counter.look(db, { after, limit: PAGE });
      after = last;
      verified.checked += looked;
      options.onProgress(counter.name, verified.checked);
      for (const id of wrong) await settle(db, counter, id, { verified, ...options });
    }
  }
  return all;
}

async function settle(
  db: Db,
  counter: Counter,
  id: string,
  { verified, repair, signal, onWrong }: VerifyCountersOptions & { verified: Verified },
): Promise<void> {
  for (let first = true; ; first = false) {
    signal.throwIfAborted();
    const numbers = await inTransaction(db, async (tx) => {
      const held = await counter.hold(tx, id);
      if (held === null || held.kept === held.actual) return null;
      if (repair) await counter.repair(tx, id, held);
      return held;
    });
    if (numbers !== null && first) {
      verified.wrong += 1;
      onWrong({ counter: counter.name, id, ...numbers });
    }
    if (numbers === null) {
      if (!first) verified.repaired += 1;
      return;
    }
    if (!repair) return;
  }
}
