import { sql } from "kysely";
import type { Db, Tx } from "../../src/db/transaction.ts";

declare module "../../src/db/schema.ts" {
  interface Schema {
    pending_originals: { medium_id: string; created_at: Date };
  }
}

/** Says, before anything is stored, which originals will be: so that one whose upload came to nothing is found again. */
export async function notePending(db: Db, mediumIds: readonly string[]): Promise<void> {
  await sql`INSERT INTO pending_originals (medium_id) SELECT unnest(${mediumIds}::uuid[])`.execute(db);
}

/** The original has its row now. @returns false when it was swept meanwhile. */
export async function settlePending(tx: Tx, mediumId: string): Promise<boolean> {
  const deleted = await tx.deleteFrom("pending_originals").where("medium_id", "=", mediumId).executeTakeFirst();
  return deleted.numDeletedRows > 0n;
}

/** Those of them that have no row, held until the transaction ends; a commit that is under way is waited for. */
export async function lockPending(tx: Tx, mediumIds: readonly string[]): Promise<string[]> {
  const rows = await tx
    .selectFrom("pending_originals")
    .select("medium_id")
    .where("medium_id", "in", mediumIds)
    .forUpdate()
    .execute();
  return rows.map((row) => row.medium_id);
}

/**
 * Some that are older than `age` ms, held until the transaction ends: an upload that is settled just now is passed over,
 * and one that comes later finds its row gone.
 */
export async function lockAbandoned(tx: Tx, age: number, limit: number): Promise<string[]> {
  const rows = await tx
    .selectFrom("pending_originals")
    .select("medium_id")
    .where(sql<boolean>`created_at < clock_timestamp() - ${age} * interval '1 millisecond'`)
    .orderBy("created_at")
    .limit(limit)
    .forUpdate()
    .skipLocked()
    .execute();
  return rows.map((row) => row.medium_id);
}

export async function deletePending(tx: Tx, mediumIds: readonly string[]): Promise<void> {
  await tx.deleteFrom("pending_originals").where("medium_id", "in", mediumIds).execute();
}
