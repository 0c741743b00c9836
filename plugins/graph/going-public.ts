import type { Context } from "../../src/context.ts";
import { inTransaction, type Tx } from "../../src/db/transaction.ts";
import { lockAccounts } from "../accounts/index.ts";
import {
  addToFollowCounts,
  BATCH,
  deleteRelations,
  insertFollowers,
  isOpen,
  READ,
  RELATIONS,
  requesters,
  staying,
} from "./bulk-store.ts";

/** Requests that are approved while the one who went public waits for the answer. */
const AT_ONCE = 500;

/**
 * Approves the requests that wait for an account that has gone public, in the transaction that makes it so and holds
 * the account. Whoever else is held by somebody is passed over: to wait for them, the account being held already, would
 * break the order of locks. They, and all beyond AT_ONCE, are left to a job.
 */
export async function approveAtOnce(tx: Tx, context: Pick<Context, "emit" | "enqueue">, userId: string): Promise<void> {
  await approveAll(tx, context, userId, await requesters(tx, userId, { limit: AT_ONCE, lock: true }));
  await approveLater(tx, context, userId);
}

/** Enqueues the job that approves what waits, if something does. */
export async function approveLater(tx: Tx, { enqueue }: Pick<Context, "enqueue">, userId: string): Promise<void> {
  const waiting = await requesters(tx, userId, { limit: 1 });
  if (waiting.length > 0) await enqueue(tx, "graph.approve_waiting", { user_id: userId });
}

/** Approves what waits, a batch at a time, for as long as the account is public. It may run twice, also at once. */
export async function approveWaiting(
  context: Pick<Context, "db" | "emit">,
  userId: string,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    const waiting = await requesters(context.db, userId, { limit: READ });
    if (waiting.length === 0) return;
    while (waiting.length > 0) {
      signal.throwIfAborted();
      const batch = waiting.splice(0, BATCH);
      const open = await inTransaction(context.db, async (tx) => {
        await lockAccounts(tx, [userId, ...batch]);
        if (!(await isOpen(tx, userId))) return false;
        // Looked at behind the lock: who is being deleted since may have ended all their follows already.
        await approveAll(tx, context, userId, await staying(tx, batch));
        return true;
      });
      if (!open) return;
    }
  }
}

/** All accounts are held. A request that was withdrawn or denied meanwhile is none. */
async function approveAll(
  tx: Tx,
  { emit }: Pick<Context, "emit">,
  userId: string,
  waiting: readonly string[],
): Promise<void> {
  if (waiting.length === 0) return;
  const ended = await deleteRelations(tx, RELATIONS.requests, { userId, end: "to", others: waiting });
  const approved = ended.map(({ id }) => id);
  const started = await insertFollowers(tx, userId, approved);
  const counted = started.filter((one) => one.counted).map(({ id }) => id);
  await addToFollowCounts(tx, { userId, end: "to", others: counted }, 1);
  const started_ids = started.map(({ id }) => id);
  await emit(tx, "follows.approved", { following_id: userId, follower_ids: approved, started_ids });
}
