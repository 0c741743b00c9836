import { createHash, randomBytes } from "node:crypto";
import { v7 as newId } from "uuid";
import { violatedUnique } from "../../src/db/errors.ts";
import { type Db, inTransaction } from "../../src/db/transaction.ts";
import type { Viewer } from "../../src/http/types.ts";
import { emailTaken, userNotFound, usernameTaken, wrongCredentials } from "./errors.ts";
import { hashPassword, verifyPassword } from "./passwords.ts";
import type { Registration } from "./registration.ts";
import {
  type AccountRow,
  accountById,
  accountByName,
  credentialsByLogin,
  insertAccount,
  insertSession,
  viewerByToken,
} from "./store.ts";

/** Where a session comes from, shown to its owner. */
export interface Origin {
  address: string;
  user_agent: string | null;
}

/** Makes an account. @throws 409 when the name or the email is taken, in any case. */
export async function createAccount(db: Db, registration: Registration): Promise<AccountRow> {
  return insertNew(db, registration, await hashPassword(registration.password));
}

/** Makes an account and signs it in, both or neither. */
export async function register(
  db: Db,
  registration: Registration,
  origin: Origin,
): Promise<{ account: AccountRow; token: string }> {
  // Hashed before the transaction begins: a queue of registrations must not hold database connections.
  const passwordHash = await hashPassword(registration.password);
  return inTransaction(db, async (tx) => {
    const account = await insertNew(tx, registration, passwordHash);
    return { account, token: await startSession(tx, account.id, origin) };
  });
}

/** @throws 401, with one message and at one cost for an unknown user and a wrong password. */
export async function logIn(
  db: Db,
  credentials: { login: string; password: string },
  origin: Origin,
): Promise<{ account: AccountRow; token: string }> {
  const found = await credentialsByLogin(db, credentials.login.trim());
  const right = await verifyPassword(found?.password_hash ?? null, credentials.password);
  const account = found && right ? await accountById(db, found.id) : undefined;
  if (!account) throw wrongCredentials({});
  return { account, token: await startSession(db, account.id, origin) };
}

export async function authenticate(db: Db, token: string, lifetime: number): Promise<Viewer | null> {
  return viewerByToken(db, hashToken(token), lifetime);
}

/** @throws 404 when there is no such account. */
export async function requireAccount(db: Db, username: string): Promise<AccountRow> {
  const account = await accountByName(db, username);
  if (!account) throw userNotFound({ username });
  return account;
}

/** A text that shows nothing is no value. */
export function emptyToNull(text: string | null | undefined): string | null {
  return text && /[^\p{Z}\p{C}]/u.test(text) ? text.trim().normalize("NFC") : null;
}

async function insertNew(db: Db, registration: Registration, passwordHash: string): Promise<AccountRow> {
  const username = registration.username.toLowerCase();
  try {
    return await insertAccount(db, {
      id: newId(),
      username,
      email: registration.email,
      password_hash: passwordHash,
      display_name: emptyToNull(registration.display_name),
    });
  } catch (error) {
    const constraint = violatedUnique(error);
    if (constraint === "users_username_key") throw usernameTaken({ username });
    if (constraint === "users_email_key") throw emailTaken({});
    throw error;
  }
}

async function startSession(db: Db, userId: string, origin: Origin): Promise<string> {
  const token = `tt_${randomBytes(32).toString("base64url")}`;
  await insertSession(db, {
    id: newId(),
    user_id: userId,
    token_hash: hashToken(token),
    address: origin.address,
    user_agent: origin.user_agent?.slice(0, 300) ?? null,
  });
  return token;
}

/** The token is 256 random bits, so one plain hash is as good as a slow one. */
function hashToken(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}
