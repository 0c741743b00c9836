import { type Generated, sql } from "kysely";
import type { Db, Tx } from "../../src/db/transaction.ts";

export interface InvitesTable {
  id: string;
  code_hash: Buffer;
  /** Whom the operator meant it for; whoever has the code may use it. */
  email: string | null;
  created_at: Generated<Date>;
  expires_at: Date;
  used_at: Date | null;
  user_id: string | null;
}

declare module "../../src/db/schema.ts" {
  interface Schema {
    invites: InvitesTable;
  }
}

/** @param invite its lifetime in milliseconds. */
export async function insertInvite(
  db: Db,
  invite: { id: string; code_hash: Buffer; email: string | null; lifetime: number },
): Promise<{ expires_at: Date }> {
  const { lifetime, ...row } = invite;
  return db
    .insertInto("invites")
    .values({ ...row, used_at: null, user_id: null, expires_at: sql`now() + ${lifetime} * interval '1 millisecond'` })
    .returning("expires_at")
    .executeTakeFirstOrThrow();
}

export async function isInviteGood(db: Db, codeHash: Buffer): Promise<boolean> {
  const row = await db
    .selectFrom("invites")
    .select("id")
    .where("code_hash", "=", codeHash)
    .where(good)
    .executeTakeFirst();
  return row !== undefined;
}

/** @returns whether it was good: of two that use it at once, one is told no. */
export async function markInviteUsed(tx: Tx, codeHash: Buffer, userId: string): Promise<boolean> {
  const result = await tx
    .updateTable("invites")
    // Who it was for is known by the account now, and goes with it.
    .set({ used_at: sql`now()`, user_id: userId, email: null })
    .where("code_hash", "=", codeHash)
    .where(good)
    .executeTakeFirst();
  return result.numUpdatedRows === 1n;
}

/** @returns how many nobody had used in their time. The used ones stay: they tell who came by which. */
export async function deleteExpiredInvites(db: Db): Promise<number> {
  const result = await db
    .deleteFrom("invites")
    .where(sql<boolean>`used_at IS NULL AND expires_at <= now()`)
    .executeTakeFirst();
  return Number(result.numDeletedRows);
}

const good = sql<boolean>`used_at IS NULL AND expires_at > now()`;
