import type { Context } from "../../src/context.ts";
import { inTransaction, type Tx } from "../../src/db/transaction.ts";
import { unauthenticated } from "../../src/http/errors.ts";
import { announceChange } from "./changes.ts";
import { requirePassword } from "./credentials.ts";
import { wrongPassword } from "./errors.ts";
import { deleteLinksOf } from "./link-store.ts";
import { reserveName } from "./name-store.ts";
import { forgettingSessions } from "./session-cache.ts";
import { endSessions } from "./sessions.ts";
import { type AccountRow, abandonedDeletions, accountById, deleteAccount, lockAccount, setState } from "./store.ts";

declare module "../../src/events.ts" {
  interface Events {
    "account.suspended": { user_id: string };
    "account.unsuspended": { user_id: string };
    /** From now on it is there for nobody; a job removes what it left. */
    "account.deleting": { user_id: string };
  }
}

type LifecycleContext = Pick<Context, "config" | "db" | "emit" | "enqueue" | "notices">;

/** Milliseconds after which a deletion that no job works on is given a new one. */
const ABANDONED_AFTER = 3_600_000;

/**
 * Suspends an account, or ends that. Nothing of it is removed and its sessions stay, but all is refused and hidden.
 * Idempotent.
 * @returns whether that changed anything; null for an account that is being deleted, or is gone.
 */
export async function setSuspended(
  context: LifecycleContext,
  userId: string,
  suspended: boolean,
): Promise<boolean | null> {
  const change = async (tx: Tx) => {
    const account = await lockAccount(tx, userId);
    if (!account || account.state === "deleting") return null;
    const state = suspended ? "suspended" : "active";
    if (account.state === state) return false;
    await setState(tx, userId, state);
    await context.emit(tx, suspended ? "account.suspended" : "account.unsuspended", { user_id: userId });
    await announceChange(tx, context, userId);
    return true;
  };
  return forgettingSessions(context.notices, userId, () => inTransaction(context.db, change));
}

/** Deletes one's own account. @throws 403 for a wrong password. */
export async function closeAccount(context: LifecycleContext, userId: string, password: string): Promise<void> {
  const stored = await requirePassword(context.db, userId, password);
  const close = async (tx: Tx) => {
    const account = await lockAccount(tx, userId);
    if (!account || account.state === "suspended") throw unauthenticated({});
    if (account.password_hash !== stored) throw wrongPassword({});
    await beginDeletion(tx, context, account);
  };
  await forgettingSessions(context.notices, userId, () => inTransaction(context.db, close));
}

/** The same for an operator. Idempotent. */
export async function deleteByOperator(context: LifecycleContext, userId: string): Promise<void> {
  const close = async (tx: Tx) => {
    const account = await lockAccount(tx, userId);
    if (account) await beginDeletion(tx, context, account);
  };
  await forgettingSessions(context.notices, userId, () => inTransaction(context.db, close));
}

/** From here on the account is there for nobody, and cannot come back; the rest is a job's. */
async function beginDeletion(tx: Tx, context: LifecycleContext, { id, username, state }: AccountRow): Promise<void> {
  if (state === "deleting") return;
  await setState(tx, id, "deleting");
  await endSessions(tx, context, id);
  await deleteLinksOf(tx, id);
  await reserveName(tx, { username, holder_id: null, milliseconds: context.config.accounts.deleted_username_hold });
  await context.emit(tx, "account.deleting", { user_id: id });
  await announceChange(tx, context, id);
  await context.enqueue(tx, "accounts.delete", { user_id: id });
}

/**
 * Removes what every feature keeps of the account, then the account. It may be ended at any moment and run again. A row
 * that came in between refers to the account and makes the last step fail: the next try removes that too.
 */
export async function eraseAccount(context: Context, userId: string, signal: AbortSignal): Promise<void> {
  const account = await accountById(context.db, userId);
  if (account?.state !== "deleting") return;
  await context.kept.erase(userId, signal);
  signal.throwIfAborted();
  await deleteAccount(context.db, userId);
}

/** Goes on with deletions whose job failed for good, or was purged. @returns how many. */
export async function resumeDeletions({ db, enqueue }: Pick<Context, "db" | "enqueue">): Promise<number> {
  return inTransaction(db, async (tx) => {
    const abandoned = await abandonedDeletions(tx, "accounts.delete", ABANDONED_AFTER);
    for (const { id } of abandoned) await enqueue(tx, "accounts.delete", { user_id: id });
    return abandoned.length;
  });
}
