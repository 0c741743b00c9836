import { type Generated, sql } from "kysely";
import type { Db, Tx } from "../../src/db/transaction.ts";

export type LinkPurpose = "password_reset" | "email_confirmation";

export interface AccountTokensTable {
  user_id: string;
  purpose: LinkPurpose;
  token_hash: Buffer;
  /** The job that mailed it; null for one that an operator hands over. */
  job_id: string | null;
  created_at: Generated<Date>;
  expires_at: Date;
}

declare module "../../src/db/schema.ts" {
  interface Schema {
    account_tokens: AccountTokensTable;
  }
}

/** Adds a link. @param link its lifetime in milliseconds. @returns when it expires. */
export async function insertLink(
  tx: Tx,
  link: { user_id: string; purpose: LinkPurpose; token_hash: Buffer; job_id: string | null; lifetime: number },
): Promise<{ expires_at: Date }> {
  const { lifetime, ...row } = link;
  return tx
    .insertInto("account_tokens")
    .values({ ...row, expires_at: sql`clock_timestamp() + ${lifetime} * interval '1 millisecond'` })
    .returning("expires_at")
    .executeTakeFirstOrThrow();
}

/** Whether the account was mailed a link for this since then, by another job. */
export async function wasMailedSince(
  tx: Tx,
  { user_id, purpose, since, job_id }: { user_id: string; purpose: LinkPurpose; since: Date; job_id: string },
): Promise<boolean> {
  const row = await tx
    .selectFrom("account_tokens")
    .select("token_hash")
    .where("user_id", "=", user_id)
    .where("purpose", "=", purpose)
    .where("created_at", ">", since)
    .where("job_id", "<>", job_id)
    .executeTakeFirst();
  return row !== undefined;
}

/** Whose link it is, if it is still good. */
export async function ownerOfLink(db: Db, purpose: LinkPurpose, tokenHash: Buffer): Promise<string | undefined> {
  const row = await db
    .selectFrom("account_tokens")
    .select("user_id")
    .where("token_hash", "=", tokenHash)
    .where("purpose", "=", purpose)
    .where(sql<boolean>`expires_at > now()`)
    .executeTakeFirst();
  return row?.user_id;
}

/** @returns whether it was there. */
export async function deleteLink(db: Db, tokenHash: Buffer): Promise<boolean> {
  const result = await db.deleteFrom("account_tokens").where("token_hash", "=", tokenHash).executeTakeFirst();
  return result.numDeletedRows === 1n;
}

/** @param purpose null for all links of the account. */
export async function deleteLinksOf(tx: Tx, userId: string, purpose: LinkPurpose | null = null): Promise<void> {
  await tx
    .deleteFrom("account_tokens")
    .where("user_id", "=", userId)
    .$if(purpose !== null, (query) => query.where(sql<boolean>`purpose = ${purpose}`))
    .execute();
}

/** @returns how many had expired. */
export async function deleteExpiredLinks(db: Db): Promise<number> {
  const result = await db.deleteFrom("account_tokens").where(sql<boolean>`expires_at <= now()`).executeTakeFirst();
  return Number(result.numDeletedRows);
}
