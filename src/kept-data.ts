import type { Db } from "./db/transaction.ts";
import type { KnownObject } from "./ports/media.ts";
import type { TakeoutEntry } from "./takeout.ts";

/** What all features keep, those that are off included: what they kept is there all the same. See src/feature.ts. */
export interface KeptData {
  /** All that is kept of a person, for that person to take along. */
  takeout(userId: string): AsyncIterable<TakeoutEntry>;
  /** Removes all that is kept of an account that is being deleted. May be ended at any moment and run again. */
  erase(userId: string, signal: AbortSignal): Promise<void>;
  /** Every object of the media store that the rows know. @param db where they are read, such as a snapshot. */
  objects(db: Db): AsyncIterable<KnownObject>;
  /** The tables whose rows no backup holds. */
  readonly passing: ReadonlySet<string>;
}
