import type { Config } from "../../src/config/schema.ts";
import type { Db, Tx } from "../../src/db/transaction.ts";
import { linkInvalid } from "./errors.ts";
import { deleteLink, deleteLinksOf, insertLink, type LinkPurpose, ownerOfLink } from "./link-store.ts";
import { type HeldAccount, lockAccount } from "./store.ts";
import { hashToken, newToken } from "./tokens.ts";

/** One-time links: whoever has one may do one thing to one account, once. */
export interface Link {
  /** Kept nowhere. */
  token: string;
  expires_at: Date;
}

const PATHS: Readonly<Record<LinkPurpose, string>> = {
  password_reset: "/account/reset-password",
  email_confirmation: "/account/confirm-email",
};

/** Makes a link. @param lifetime milliseconds. */
export async function issueLink(
  tx: Tx,
  link: { user_id: string; purpose: LinkPurpose; lifetime: number; job_id: string | null },
): Promise<Link> {
  const token = newToken("link");
  const { expires_at } = await insertLink(tx, { ...link, token_hash: hashToken(token) });
  return { token, expires_at };
}

/** Where a browser uses the link. */
export function urlOfLink({ public_url }: Pick<Config, "public_url">, purpose: LinkPurpose, token: string): string {
  return `${public_url}${PATHS[purpose]}?token=${token}`;
}

/** @throws 422, one message for a link that never was, was used, or has expired. */
export async function requireLink(db: Db, purpose: LinkPurpose, token: string): Promise<string> {
  const userId = await ownerOfLink(db, purpose, hashToken(token));
  if (userId === undefined) throw linkInvalid({});
  return userId;
}

/** Uses a link up, and all others for the same purpose. @returns its account, locked, as everything that ends links locks it first. @throws 422 as above. */
export async function redeemLink(tx: Tx, purpose: LinkPurpose, token: string): Promise<HeldAccount> {
  const account = await lockAccount(tx, await requireLink(tx, purpose, token));
  if (!account || account.state === "deleting") throw linkInvalid({});
  if (!(await deleteLink(tx, hashToken(token)))) throw linkInvalid({});
  await deleteLinksOf(tx, account.id, purpose);
  return account;
}

/** Takes back a link that did not reach anybody. */
export async function withdrawLink(db: Db, { token }: Link): Promise<void> {
  await deleteLink(db, hashToken(token));
}
