import { type Db, inTransaction, type Tx } from "../../src/db/transaction.ts";
import type { Run } from "../../src/jobs/job.ts";
import {
  appendFor,
  appendToNext,
  enterBacklog,
  lastEntry,
  leaveBacklog,
  noteReached,
  type Reached,
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

/**
 * Writes it into the logs of all who were told. It may be ended at any moment and run again, also twice at once; what is in the
 * backlog goes on where it was.
 */
export async function spread(db: Db, subject: Subject, signal: AbortSignal): Promise<void> {
  const entry = await lastEntry(db, subject);
  let reached: Reached | undefined = entry ?? { logged_up_to: "0", folded_up_to: null };
  while (reached !== undefined) {
    signal.throwIfAborted();
    const before: Reached = reached;
    reached = await inTransaction(db, async (tx) => {
      const next = await appendToNext(tx, subject, before, BATCH);
      if (entry && next) await noteReached(tx, entry.id, next);
      return next;
    });
  }
  if (entry) await leaveBacklog(db, subject, entry.id);
}

/** Goes on with what its job has left. What fails is logged, and is in the way of nothing else. */
export async function spreadAbandoned(db: Db, { signal, log }: Pick<Run, "signal" | "log">): Promise<void> {
  const { actorIds, postIds } = await readBacklog(db, ABANDONED_AFTER);
  for (const subject of [...actorIds.map((actor_id) => ({ actor_id })), ...postIds.map((post_id) => ({ post_id }))]) {
    try {
      await spread(db, subject, signal);
    } catch (error) {
      signal.throwIfAborted();
      log.error({ err: error, ...subject }, "not all who were told of it could be told what became of it");
    }
  }
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
