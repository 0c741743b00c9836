import { sql } from "kysely";
import type { Db, Tx } from "../../src/db/transaction.ts";
import type { InboxRow } from "./tables.ts";
import type { NotificationType } from "./types.ts";

/**
 * A person's inbox, made where there is none, and held until the transaction ends. A transaction holds one at most.
 * @returns undefined for an account that is being deleted, or is gone.
 */
export async function lockInbox(tx: Tx, userId: string): Promise<InboxRow | undefined> {
  await sql`
    INSERT INTO notification_inboxes (user_id) SELECT id FROM users WHERE id = ${userId} AND state <> 'deleting'
    ON CONFLICT DO NOTHING`.execute(tx);
  return tx.selectFrom("notification_inboxes").selectAll().where("user_id", "=", userId).forUpdate().executeTakeFirst();
}

export async function setLastAt(tx: Tx, userId: string, last_at: Date): Promise<void> {
  await tx.updateTable("notification_inboxes").set({ last_at }).where("user_id", "=", userId).execute();
}

/** Notes that the person has been shown the list, in which the latest stood at `at`. */
export async function setShown(db: Db, userId: string, at: Date): Promise<void> {
  await db
    .updateTable("notification_inboxes")
    .set({ shown_at: sql`greatest(shown_at, ${at})` })
    .where("user_id", "=", userId)
    .execute();
}

/** Marks all that stand up to `at` as read, or everything that there is without it. What is read stays read. */
export async function markRead(db: Db, userId: string, at: Date | undefined): Promise<void> {
  await db
    .updateTable("notification_inboxes")
    .set({ read_at: at === undefined ? sql`last_at` : sql`greatest(read_at, ${at})` })
    .where("user_id", "=", userId)
    .execute();
}

export async function typesOff(db: Db, userId: string): Promise<NotificationType[]> {
  const inbox = await db
    .selectFrom("notification_inboxes")
    .select("types_off")
    .where("user_id", "=", userId)
    .executeTakeFirst();
  return inbox?.types_off ?? [];
}

export async function setTypesOff(tx: Tx, userId: string, types: readonly NotificationType[]): Promise<void> {
  await tx
    .updateTable("notification_inboxes")
    .set({ types_off: [...types] })
    .where("user_id", "=", userId)
    .execute();
}

export async function deleteInbox(db: Db, userId: string): Promise<void> {
  await db.deleteFrom("notification_inboxes").where("user_id", "=", userId).execute();
}
