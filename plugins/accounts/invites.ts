import { v7 as newId } from "uuid";
import type { Context } from "../../src/context.ts";
import type { Db, Tx } from "../../src/db/transaction.ts";
import { inviteInvalid, inviteRequired, registrationClosed } from "./errors.ts";
import { insertInvite, isInviteGood, markInviteUsed } from "./invite-store.ts";
import { hashToken, newToken } from "./tokens.ts";

export interface Invite {
  /** Kept nowhere. */
  code: string;
  email: string | null;
  expires_at: Date;
}

/** @param invite its lifetime in milliseconds. */
export async function createInvite(db: Db, invite: { email: string | null; lifetime: number }): Promise<Invite> {
  const code = newToken("invite");
  const { email, lifetime } = invite;
  const { expires_at } = await insertInvite(db, { id: newId(), code_hash: hashToken(code), email, lifetime });
  return { code, email, expires_at };
}

/**
 * Whether somebody may register, before any work is done for them. Where anybody may, a code is not asked for and stays.
 * @returns the code to use up; null where none is needed.
 * @throws 403
 */
export async function admit(
  { config, db }: Pick<Context, "config" | "db">,
  code: string | undefined,
): Promise<string | null> {
  if (config.registration === "open") return null;
  if (config.registration === "closed") throw registrationClosed({});
  if (code === undefined || code === "") throw inviteRequired({});
  if (!(await isInviteGood(db, hashToken(code)))) throw inviteInvalid({});
  return code;
}

/** In the transaction that makes the account, so that a registration that fails leaves the code good. @throws 403 */
export async function useInvite(tx: Tx, code: string, userId: string): Promise<void> {
  if (!(await markInviteUsed(tx, hashToken(code), userId))) throw inviteInvalid({});
}
