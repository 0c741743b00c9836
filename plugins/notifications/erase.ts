import type { Context } from "../../src/context.ts";
import { inTransaction } from "../../src/db/transaction.ts";
import { someTold } from "./backlog-store.ts";
import { fold } from "./fold.ts";
import { removeFitting, removeSome } from "./fold-store.ts";
import { deleteInbox, lockInbox } from "./inbox-store.ts";
import { appendRemovals, discardLogged, discardSomeOf } from "./log-store.ts";

const BATCH = 5_000;
const PEOPLE = 500;

/** Removes what the account was told, and the account from what others were told, as if they had blocked it. */
export async function eraseNotifications(
  { db }: Pick<Context, "db">,
  userId: string,
  signal: AbortSignal,
): Promise<void> {
  await discardLogged(db, userId);
  for (let more = true; more; ) {
    signal.throwIfAborted();
    more = await inTransaction(db, async (tx) => {
      // Held from the last look until it is gone: a fold in between would leave notifications without an inbox.
      await lockInbox(tx, userId);
      const isMore = await removeSome(tx, userId, { gone: false, limit: BATCH });
      if (!isMore) await deleteInbox(tx, userId);
      return isMore;
    });
  }
  for (;;) {
    const { people } = await someTold(db, { actor_id: userId }, PEOPLE);
    if (people.length === 0) break;
    const removals = people.map((user_id) => ({ user_id, actor_id: userId }));
    await inTransaction(db, (tx) => appendRemovals(tx, removals, { erasing: true }));
    for (const one of people) {
      signal.throwIfAborted();
      await fold(db, one);
      await removeUnheld(db, one, userId);
    }
  }
  // Of a block or a mute, say, for people who were told nothing by it.
  while (await discardSomeOf(db, userId, BATCH)) signal.throwIfAborted();
}

/** Takes the actor out where nothing is folded, and the log discarded: that person is being deleted too, and has no inbox. */
async function removeUnheld(db: Context["db"], userId: string, actorId: string): Promise<void> {
  await inTransaction(db, async (tx) => {
    if (await lockInbox(tx, userId)) return;
    await removeFitting(tx, userId, { type: null, subject: null, post_id: null, actor_ids: [actorId] });
  });
}
