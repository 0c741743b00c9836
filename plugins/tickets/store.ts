import { type Generated, sql } from "kysely";
import type { Db, Tx } from "../../src/db/transaction.ts";

export interface TicketKeysTable {
  id: Generated<number>;
  secret: Buffer;
  created_at: Generated<Date>;
  expires_at: Date | null;
}

declare module "../../src/db/schema.ts" {
  interface Schema {
    ticket_keys: TicketKeysTable;
  }
}

/** The keys that are still believed, the newest first: that one signs. `read_at` is the database's time. */
export async function validKeys(db: Db): Promise<Array<{ id: number; secret: Buffer; read_at: Date }>> {
  return db
    .selectFrom("ticket_keys")
    .select(["id", "secret", sql<Date>`clock_timestamp()`.as("read_at")])
    .where(sql<boolean>`(expires_at IS NULL OR expires_at > now())`)
    .orderBy("id", "desc")
    .execute();
}

/** One rotation after the other; readers go on. Of two at once each would miss the other's key. */
export async function lockKeys(tx: Tx): Promise<void> {
  await sql`LOCK TABLE ticket_keys IN SHARE ROW EXCLUSIVE MODE`.execute(tx);
}

export async function insertKey(tx: Tx, secret: Buffer): Promise<{ id: number; created_at: Date }> {
  return tx
    .insertInto("ticket_keys")
    .values({ secret, expires_at: null })
    .returning(["id", "created_at"])
    .executeTakeFirstOrThrow();
}

/** Lets every key but `newest` expire in so many milliseconds, those that end sooner at their own time. @returns how many. */
export async function expireOthers(tx: Tx, newest: number, milliseconds: number): Promise<number> {
  const result = await tx
    .updateTable("ticket_keys")
    .set({ expires_at: sql<Date>`least(expires_at, now() + ${milliseconds} * interval '1 millisecond')` })
    .where("id", "<>", newest)
    .where(sql<boolean>`(expires_at IS NULL OR expires_at > now())`)
    .executeTakeFirst();
  return Number(result.numUpdatedRows);
}

export async function deleteExpiredKeys(tx: Tx): Promise<void> {
  await tx.deleteFrom("ticket_keys").where("expires_at", "<=", sql<Date>`now()`).execute();
}

export async function listKeys(db: Db): Promise<Array<{ id: number; created_at: Date; expires_at: Date | null }>> {
  return db.selectFrom("ticket_keys").select(["id", "created_at", "expires_at"]).orderBy("id", "desc").execute();
}
