import { type Selectable, sql } from "kysely";
import type { Db, Tx } from "../../src/db/transaction.ts";

/** Names that were given up, and are not free yet. */
export interface ReservedUsernamesTable {
  username: string;
  /** Who gave it up and may take it back; null for a deleted account. */
  holder_id: string | null;
  free_at: Date;
}

declare module "../../src/db/schema.ts" {
  interface Schema {
    reserved_usernames: ReservedUsernamesTable;
  }
}

export type ReservedName = Selectable<ReservedUsernamesTable>;

/** Keeps everybody but the holder from taking the name, for so many milliseconds. */
export async function reserveName(
  tx: Tx,
  name: { username: string; holder_id: string | null; milliseconds: number },
): Promise<void> {
  const reservation = {
    holder_id: name.holder_id,
    free_at: sql<Date>`clock_timestamp() + ${name.milliseconds} * interval '1 millisecond'`,
  };
  await tx
    .insertInto("reserved_usernames")
    .values({ username: name.username, ...reservation })
    // One that has run out, and was not swept yet.
    .onConflict((conflict) => conflict.column("username").doUpdateSet(reservation))
    .execute();
}

/** Whether the name is kept for somebody else. */
export async function isReserved(tx: Tx, username: string, userId: string): Promise<boolean> {
  const row = await tx
    .selectFrom("reserved_usernames")
    .select("username")
    .where("username", "=", username)
    .where(held)
    .where(sql<boolean>`holder_id IS DISTINCT FROM ${userId}`)
    .executeTakeFirst();
  return row !== undefined;
}

export async function releaseName(tx: Tx, username: string): Promise<void> {
  await tx.deleteFrom("reserved_usernames").where("username", "=", username).execute();
}

/** The names that are kept for an account, the one that is free first first. */
export async function heldNames(db: Db, userId: string): Promise<ReservedName[]> {
  return db
    .selectFrom("reserved_usernames")
    .selectAll()
    .where("holder_id", "=", userId)
    .where(held)
    .orderBy("free_at")
    .execute();
}

/** @returns how many names had become free. */
export async function deleteFreeNames(db: Db): Promise<number> {
  const result = await db.deleteFrom("reserved_usernames").where(sql<boolean>`NOT (${held})`).executeTakeFirst();
  return Number(result.numDeletedRows);
}

const held = sql<boolean>`free_at > clock_timestamp()`;
