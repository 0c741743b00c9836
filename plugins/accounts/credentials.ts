import { v7 as newId } from "uuid";
import type { Context } from "../../src/context.ts";
import { type Db, inTransaction, type Tx } from "../../src/db/transaction.ts";
import { keepAnswer } from "../../src/http/idempotency.ts";
import type { Viewer } from "../../src/http/types.ts";
import { lockActive } from "./accounts.ts";
import { userNotFound, wrongPassword } from "./errors.ts";
import { deleteLinksOf } from "./link-store.ts";
import { issueLink, type Link, redeemLink, requireLink } from "./links.ts";
import { requireMail } from "./mails.ts";
import { hashPassword, verifyPassword } from "./passwords.ts";
import { forgettingSessions } from "./session-cache.ts";
import { endSessions } from "./sessions.ts";
import {
  type AccountRow,
  credentialsById,
  credentialsByLogin,
  type HeldAccount,
  lockAccount,
  updateAccount,
} from "./store.ts";

declare module "../../src/events.ts" {
  interface Events {
    /** By its owner, or by a link. What whoever knew the old one may still hold ends with it. */
    "account.password_changed": { user_id: string };
  }
}

/** Milliseconds that an operator's link is good for: it goes by hand. */
const OPERATORS_LINK = 24 * 3_600_000;

/**
 * Sets a new password; all sessions but this one end.
 * @param change.address from where.
 * @throws 403 for a wrong current password.
 */
export async function changePassword(
  { db, emit, notices }: Pick<Context, "db" | "emit" | "notices">,
  viewer: Viewer,
  change: { current_password: string; new_password: string; address: string },
): Promise<void> {
  const stored = await requirePassword(db, viewer.id, change.current_password);
  const password_hash = await hashPassword(change.new_password);
  await forgettingSessions(notices, viewer.id, () =>
    inTransaction(db, async (tx) => {
      const account = await lockWithPassword(tx, viewer.id, stored);
      await updateAccount(tx, account.id, { password_hash });
      await endSessions(tx, { notices }, account.id, viewer.session_id);
      await deleteLinksOf(tx, account.id, "password_reset");
      await emit(tx, "account.password_changed", { user_id: account.id });
      await emit(tx, "account.owner_came", { user_id: account.id, address: change.address });
      await keepAnswer(tx, 204, null);
    }),
  );
}

/**
 * Has a link for a new password mailed, if there is such an account. The work is the same if there is none: else the
 * time it takes would tell who is here.
 * @throws 422 where no mail is sent.
 */
export async function requestPasswordReset(
  { config, db, enqueue }: Pick<Context, "config" | "db" | "enqueue">,
  login: string,
): Promise<void> {
  requireMail(config);
  const found = await credentialsByLogin(db, login.trim());
  await inTransaction(db, (tx) =>
    enqueue(tx, "accounts.mail", { kind: "password_reset", user_id: found?.id ?? newId() }),
  );
}

/**
 * Sets a new password by a link; all sessions end.
 * @param address from where.
 * @throws 422 for a link that is not good any more.
 */
export async function resetPassword(
  { db, emit, notices }: Pick<Context, "db" | "emit" | "notices">,
  { token, new_password, address }: { token: string; new_password: string; address: string },
): Promise<void> {
  // Asked first, because hashing costs more than anybody without a link may spend.
  const userId = await requireLink(db, "password_reset", token);
  const password_hash = await hashPassword(new_password);
  await forgettingSessions(notices, userId, () =>
    inTransaction(db, async (tx) => {
      const { id } = await redeemLink(tx, "password_reset", token);
      await updateAccount(tx, id, { password_hash });
      await endSessions(tx, { notices }, id);
      await emit(tx, "account.password_changed", { user_id: id });
      await emit(tx, "account.owner_came", { user_id: id, address });
    }),
  );
}

/**
 * A link for a new password that an operator gives to the account's owner. Earlier ones are void: one that came into the
 * wrong hands is withdrawn so.
 * @param options.signOut ends all sessions at once, not only when the link is used.
 */
export async function issueOperatorsLink(
  { db, notices }: Pick<Context, "db" | "notices">,
  { id, username }: Pick<AccountRow, "id" | "username">,
  { signOut }: { signOut: boolean },
): Promise<Link> {
  return forgettingSessions(notices, id, () =>
    inTransaction(db, async (tx) => {
      const account = await lockAccount(tx, id);
      if (!account || account.state === "deleting") throw userNotFound({ username });
      await deleteLinksOf(tx, id, "password_reset");
      if (signOut) await endSessions(tx, { notices }, id);
      return issueLink(tx, { user_id: id, purpose: "password_reset", lifetime: OPERATORS_LINK, job_id: null });
    }),
  );
}

/** @returns the hash that the password was held against. @throws 403 */
export async function requirePassword(db: Db, userId: string, password: string): Promise<string> {
  const stored = (await credentialsById(db, userId))?.password_hash ?? null;
  if (!(await verifyPassword(stored, password)) || stored === null) throw wrongPassword({});
  return stored;
}

/** Locks an account whose password is still the one that was verified. @throws 403 when it is not, 401. */
export async function lockWithPassword(tx: Tx, userId: string, stored: string): Promise<HeldAccount> {
  const account = await lockActive(tx, userId);
  if (account.password_hash !== stored) throw wrongPassword({});
  return account;
}
