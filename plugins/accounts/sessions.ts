import { validate as isUuid, v7 as newId } from "uuid";
import type { Context } from "../../src/context.ts";
import { inTransaction, type Tx } from "../../src/db/transaction.ts";
import type { Viewer } from "../../src/http/types.ts";
import { accountSuspended, sessionNotFound, wrongCredentials } from "./errors.ts";
import { verifyPassword } from "./passwords.ts";
import { forgettingSessions, keptViewer } from "./session-cache.ts";
import { deleteSession, deleteSessions, insertSession, sessionByToken } from "./session-store.ts";
import { type AccountRow, credentialsByLogin, holdAccount } from "./store.ts";
import { hashToken, newToken } from "./tokens.ts";

declare module "../../src/events.ts" {
  interface Events {
    /** Whoever was at `address` has shown to be the owner: by the password, or by a link that was mailed. */
    "account.owner_came": { user_id: string; address: string };
  }
}

/** Where a session comes from, shown to its owner. */
export interface Origin {
  address: string;
  user_agent: string | null;
}

/**
 * @throws 401, with one message and at one cost for an unknown user and a wrong password; 403 for a suspended account,
 * told only to whoever has its password.
 */
export async function logIn(
  context: Pick<Context, "db" | "emit">,
  credentials: { login: string; password: string },
  origin: Origin,
): Promise<{ account: AccountRow; token: string }> {
  const { db } = context;
  const found = await credentialsByLogin(db, credentials.login.trim());
  const stored = found && found.state !== "deleting" ? found.password_hash : null;
  const right = await verifyPassword(stored, credentials.password);
  if (!found || !right) throw wrongCredentials({});
  return inTransaction(db, async (tx) => {
    const account = await holdAccount(tx, found.id);
    // A session that began with the old password after the password was changed would outlive the change.
    if (!account || account.state === "deleting" || account.password_hash !== stored) throw wrongCredentials({});
    if (account.state === "suspended") throw accountSuspended({});
    return { account, token: await startSession(tx, context, account.id, origin) };
  });
}

/** Whose session a token is, if it has not ended; one that ended on another server is refused within a second. */
export async function authenticate(
  { config, db, notices }: Pick<Context, "config" | "db" | "notices">,
  token: string,
): Promise<Viewer | null> {
  const hash = hashToken(token);
  return keptViewer(notices, hash, () => sessionByToken(db, hash, config.accounts.session_lifetime));
}

/** @returns the token, which is kept nowhere. */
export async function startSession(
  tx: Tx,
  { emit }: Pick<Context, "emit">,
  userId: string,
  origin: Origin,
): Promise<string> {
  const token = newToken("tt");
  await insertSession(tx, {
    id: newId(),
    user_id: userId,
    token_hash: hashToken(token),
    address: origin.address,
    user_agent: origin.user_agent?.slice(0, 300) ?? null,
  });
  await emit(tx, "account.owner_came", { user_id: userId, address: origin.address });
  return token;
}

/** @throws 404 for a session that is not the account's. */
export async function endSession(
  { db, notices }: Pick<Context, "db" | "notices">,
  userId: string,
  sessionId: string,
): Promise<void> {
  if (!isUuid(sessionId)) throw sessionNotFound({});
  const ended = await forgettingSessions(notices, userId, () =>
    inTransaction(db, async (tx) => {
      if (!(await deleteSession(tx, { id: sessionId, userId }))) return false;
      await notices.tell(tx, "account.sessions_ended", userId);
      return true;
    }),
  );
  if (!ended) throw sessionNotFound({});
}

/** Ends all sessions of an account, but `except`; by whoever runs that in `forgettingSessions`. */
export async function endSessions(
  tx: Tx,
  { notices }: Pick<Context, "notices">,
  userId: string,
  except: string | null = null,
): Promise<void> {
  await deleteSessions(tx, userId, except);
  await notices.tell(tx, "account.sessions_ended", userId);
}
