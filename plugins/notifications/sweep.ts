import { NIL } from "uuid";
import { type Db, inTransaction } from "../../src/db/transaction.ts";
import { removeSome } from "./fold-store.ts";
import { lockInbox } from "./inbox-store.ts";
import { peopleWithGone, peopleWithOld, removeSomeOld } from "./store.ts";
import { RETENTION } from "./types.ts";

const PEOPLE = 500;
/** Of one transaction. */
const BATCH = { groups: 200, actors: 5_000 };

/**
 * Removes what happened more than 90 days ago: notifications, and of those that are still growing the old actors. It may be
 * ended at any moment and run again.
 * @returns of how many people.
 */
export async function sweepNotifications(db: Db, signal: AbortSignal): Promise<number> {
  const before = new Date(Date.now() - RETENTION);
  let swept = 0;
  for (let after: string | undefined = NIL; after !== undefined; ) {
    const people: string[] = await peopleWithOld(db, before, after, PEOPLE);
    for (const userId of people) {
      for (let more = true; more; ) {
        signal.throwIfAborted();
        more = await inTransaction(db, async (tx) => {
          await lockInbox(tx, userId);
          return removeSomeOld(tx, userId, { before, ...BATCH });
        });
      }
    }
    swept += people.length;
    after = people.at(-1);
  }
  return swept;
}

/** Removes what was taken out and had too many actors to go with it at once. It may be ended at any moment and run again. */
export async function removeGone(db: Db, signal: AbortSignal): Promise<void> {
  for (let after: string | undefined = NIL; after !== undefined; ) {
    const people: string[] = await peopleWithGone(db, after, PEOPLE);
    for (const userId of people) {
      for (let more = true; more; ) {
        signal.throwIfAborted();
        more = await inTransaction(db, async (tx) => {
          await lockInbox(tx, userId);
          return removeSome(tx, userId, { gone: true, limit: BATCH.actors });
        });
      }
    }
    after = people.at(-1);
  }
}
