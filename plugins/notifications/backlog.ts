import { type Db, inTransaction, type Tx } from "../../src/db/transaction.ts";
import {
  appendFor,
  appendToFolded,
  appendToLogged,
  BEGINNING,
  enterBacklog,
  lastEntry,
  leaveBacklog,
  readBacklog,
  type Subject,
  someTold,
} from "./backlog-store.ts";
import { recountActors, removeFitting } from "./fold-store.ts";
import { lockInbox } from "./inbox-store.ts";

/** Rows that somebody else's transaction (a deletion, a suspension) writes at most, and a batch of the job. */
export const BATCH = 500;
/** Milliseconds after which the clock's job does what no other has done. */
const ABANDONED_AFTER = 600_000;

/**
 * Tells all who were told of it, at once if they are few. A transaction that writes a row for each of a million people would
 * meet the time limit of statements, and the account or the post could never be deleted.
 * @returns false where it is left to a job.
 */
export async function tellAll(tx: Tx, subject: Subject): Promise<boolean> {
  const { people, all } = await someTold(tx, subject, BATCH);
  if (all) await appendFor(tx, subject, people);
  else await enterBacklog(tx, subject);
  return all;
}

/** Writes it into the logs of all who were told. It may be ended at any moment and run again, also twice at once. */
export async function spread(db: Db, subject: Subject, signal: AbortSignal): Promise<void> {
  const last = await lastEntry(db, subject);
  await inTransaction(db, (tx) => appendToLogged(tx, subject));
  for (let after: string | undefined = BEGINNING; after !== undefined; ) {
    signal.throwIfAborted();
    const page: { after: string; limit: number } = { after, limit: BATCH };
    after = await inTransaction(db, (tx) => appendToFolded(tx, subject, page));
  }
  if (last !== null) await leaveBacklog(db, subject, last);
}

/** Goes on with what its job has left. */
export async function spreadAbandoned(db: Db, signal: AbortSignal): Promise<void> {
  const { actorIds, postIds } = await readBacklog(db, ABANDONED_AFTER);
  for (const actor_id of actorIds) await spread(db, { actor_id }, signal);
  for (const post_id of postIds) await spread(db, { post_id }, signal);
}

/** Does to one person's notifications what the backlog has not told them yet. */
export async function foldBacklog(db: Db, userId: string): Promise<void> {
  const { actorIds, postIds } = await readBacklog(db);
  if (actorIds.length + postIds.length === 0) return;
  await inTransaction(db, async (tx) => {
    if (!(await lockInbox(tx, userId))) return;
    if (actorIds.length > 0) await recountActors(tx, userId, actorIds);
    for (const post_id of postIds)
      await removeFitting(tx, userId, { type: null, subject: null, post_id, actor_ids: null });
  });
}
