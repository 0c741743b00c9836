import { v7 as newId } from "uuid";
import type { Context } from "../../src/context.ts";
import { violatedUnique } from "../../src/db/errors.ts";
import { type Db, inTransaction, type Tx } from "../../src/db/transaction.ts";
import { unauthenticated } from "../../src/http/errors.ts";
import { cards } from "./cards.ts";
import { announceChange } from "./changes.ts";
import { emailTaken, userNotFound, usernameTaken } from "./errors.ts";
import { admit, useInvite } from "./invites.ts";
import { hashPassword } from "./passwords.ts";
import type { Registration, RegistrationForm } from "./registration.ts";
import { forgettingSessions } from "./session-cache.ts";
import { type Origin, startSession } from "./sessions.ts";
import {
  type AccountChanges,
  type AccountRow,
  accountByName,
  type HeldAccount,
  holdActive,
  insertAccount,
  lockAccount,
  updateAccount,
} from "./store.ts";
import { claimName, giveUpName } from "./usernames.ts";

declare module "../../src/events.ts" {
  interface Events {
    "account.went_public": { user_id: string };
    "account.went_private": { user_id: string };
  }
}

type AccountsContext = Pick<Context, "config" | "db" | "emit" | "enqueue" | "notices" | "redis" | "bulkhead">;

/** What is shown of an account wherever it is listed. */
const SHOWN = ["username", "display_name", "is_private"] as const;

/** Makes an account, whoever may register by themselves. @throws 409 when the name or the email is taken, in any case. */
export async function createAccount(db: Db, registration: Registration): Promise<AccountRow> {
  const passwordHash = await hashPassword(registration.password);
  return inTransaction(db, (tx) => insertNew(tx, registration, passwordHash));
}

/** Makes an account for whoever comes. @throws 403 unless `registration` lets them, 409 as above. */
export async function register(context: AccountsContext, form: RegistrationForm): Promise<AccountRow> {
  return registering(context, form, async (_tx, account) => account);
}

/** Makes an account and signs it in, both or neither. @throws as above. */
export async function registerAndSignIn(
  context: AccountsContext,
  form: RegistrationForm,
  origin: Origin,
): Promise<{ account: AccountRow; token: string }> {
  return registering(context, form, async (tx, account) => ({
    account,
    token: await startSession(tx, context, account.id, origin),
  }));
}

/** Changes what an account says of itself; what is not named stays. @throws 401, 409 for a name that cannot be had. */
export async function changeAccount(
  context: AccountsContext,
  userId: string,
  changes: Pick<AccountChanges, "username" | "display_name" | "bio" | "is_private">,
): Promise<AccountRow> {
  const change = async (tx: Tx) => {
    const before = await lockActive(tx, userId);
    const username = (changes.username ?? before.username).toLowerCase();
    const account = await unlessTaken(username, () => updateAccount(tx, userId, { ...changes, username }));
    if (username !== before.username) {
      await claimName(tx, username, userId);
      await giveUpName(tx, before, context.config.accounts.username_hold);
    }
    if (account.is_private !== before.is_private) {
      const event = account.is_private ? "account.went_private" : "account.went_public";
      await context.emit(tx, event, { user_id: userId });
    }
    if (SHOWN.some((what) => account[what] !== before[what])) await announceChange(tx, context, userId);
    return account;
  };
  try {
    return await forgettingSessions(context.notices, userId, () => inTransaction(context.db, change));
  } finally {
    cards(context).forget(userId);
  }
}

/** @throws 404 when there is no such account. */
export async function requireAccount(db: Db, username: string): Promise<AccountRow> {
  const account = await accountByName(db, username);
  if (!account) throw userNotFound({ username });
  return account;
}

/** @throws 401 for an account that was suspended or deleted since the token was looked at. */
export async function requireActive(tx: Tx, userId: string): Promise<void> {
  if (!(await holdActive(tx, userId))) throw unauthenticated({});
}

/** The same, locked for a change. @throws 401 */
export async function lockActive(tx: Tx, userId: string): Promise<HeldAccount> {
  const account = await lockAccount(tx, userId);
  if (account?.state !== "active") throw unauthenticated({});
  return account;
}

/** A text that shows nothing is no value. */
export function emptyToNull(text: string | null | undefined): string | null {
  return text && /[^\p{Z}\p{C}]/u.test(text) ? text.trim().normalize("NFC") : null;
}

async function registering<T>(
  context: AccountsContext,
  form: RegistrationForm,
  work: (tx: Tx, account: AccountRow) => Promise<T>,
): Promise<T> {
  const { config, db, enqueue } = context;
  const invite = await admit(context, form.invite_code);
  // Hashed before the transaction begins: a queue of registrations must not hold database connections.
  const passwordHash = await hashPassword(form.password);
  return inTransaction(db, async (tx) => {
    const account = await insertNew(tx, form, passwordHash);
    if (invite !== null) await useInvite(tx, invite, account.id);
    if (config.smtp.url !== null) {
      await enqueue(tx, "accounts.mail", { kind: "email_confirmation", user_id: account.id });
    }
    return work(tx, account);
  });
}

async function insertNew(tx: Tx, registration: Registration, passwordHash: string): Promise<AccountRow> {
  const username = registration.username.toLowerCase();
  const account = await unlessTaken(username, () =>
    insertAccount(tx, {
      id: newId(),
      username,
      email: registration.email,
      password_hash: passwordHash,
      display_name: emptyToNull(registration.display_name),
    }),
  );
  await claimName(tx, username, account.id);
  return account;
}

async function unlessTaken<T>(username: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (error) {
    const constraint = violatedUnique(error);
    if (constraint === "users_username_key") throw usernameTaken({ username });
    if (constraint === "users_email_key") throw emailTaken({});
    throw error;
  }
}
