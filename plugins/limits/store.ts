import { type Generated, sql } from "kysely";
import type { Db, Tx } from "../../src/db/transaction.ts";
import { byLogin } from "../accounts/index.ts";
import { placeOf } from "./subjects.ts";

export interface LoginAddressesTable {
  user_id: string;
  /** As `placeOf` has it. */
  address: string;
  last_used_at: Generated<Date>;
}

declare module "../../src/db/schema.ts" {
  interface Schema {
    login_addresses: LoginAddressesTable;
  }
}

/** Of one account; the oldest go. */
const MOST_KEPT = 50;
/** Rows that are removed at a time. */
const BATCH = 1_000;

/** Whether the owner of the account with this name or email has been at this place. */
export async function isKnownPlace(db: Db, login: string, place: string): Promise<boolean> {
  const row = await db
    .selectFrom("login_addresses")
    .innerJoin("users", "users.id", "login_addresses.user_id")
    .select("users.id")
    .where("login_addresses.address", "=", place)
    .where(byLogin(login))
    .executeTakeFirst();
  return row !== undefined;
}

/** The owner of the account was there. */
export async function rememberPlace(tx: Tx, userId: string, place: string): Promise<void> {
  const { rows } = await sql<{ added: boolean }>`
    INSERT INTO login_addresses (user_id, address) VALUES (${userId}, ${place})
    ON CONFLICT (user_id, address) DO UPDATE SET last_used_at = now()
      WHERE login_addresses.last_used_at < now() - interval '1 hour'
    RETURNING xmax = 0 AS added`.execute(tx);
  if (rows[0]?.added) await forgetOldest(tx, userId);
}

/** Somebody is there with a session; nothing where it has ended. */
export async function rememberUse(db: Db, sessionId: string, place: string): Promise<void> {
  // Whoever ends the session, because the password was changed, finds this place, or this finds no session.
  const { rows } = await sql<{ user_id: string; added: boolean }>`
    INSERT INTO login_addresses (user_id, address)
    SELECT user_id, ${place} FROM sessions WHERE id = ${sessionId} AND NOT EXISTS (
      SELECT FROM login_addresses AS known
      WHERE known.user_id = sessions.user_id AND known.address = ${place}
        AND known.last_used_at > now() - interval '1 hour')
    FOR KEY SHARE OF sessions
    ON CONFLICT (user_id, address) DO UPDATE SET last_used_at = now()
    RETURNING user_id, xmax = 0 AS added`.execute(db);
  if (rows[0]?.added) await forgetOldest(db, rows[0].user_id);
}

/** Whoever signs in at the same time may be removing the same ones: those are left to them, or each could wait for the other. */
async function forgetOldest(db: Db, userId: string): Promise<void> {
  await sql`
    DELETE FROM login_addresses WHERE user_id = ${userId} AND address IN (
      SELECT address FROM login_addresses WHERE user_id = ${userId} AND last_used_at <= (
        SELECT last_used_at FROM login_addresses WHERE user_id = ${userId}
        ORDER BY last_used_at DESC OFFSET ${MOST_KEPT} LIMIT 1)
      FOR UPDATE SKIP LOCKED)`.execute(db);
}

/** @returns the ids of an account's sessions, latest first. */
export async function sessionsOf(db: Db, userId: string): Promise<string[]> {
  const rows = await db
    .selectFrom("sessions")
    .select("id")
    .where("user_id", "=", userId)
    .orderBy("last_used_at", "desc")
    .execute();
  return rows.map(({ id }) => id);
}

/** Forgets where the sessions that are left did not begin. */
export async function forgetOtherPlaces(tx: Tx, userId: string): Promise<void> {
  const sessions = await tx.selectFrom("sessions").select("address").where("user_id", "=", userId).execute();
  const kept = sessions.map(({ address }) => placeOf(address));
  await sql`DELETE FROM login_addresses WHERE user_id = ${userId} AND address <> ALL (${kept}::text[])`.execute(tx);
}

/** @returns how many had not been used for `age` ms and are gone. */
export async function forgetUnused(db: Db, age: number, signal: AbortSignal): Promise<number> {
  for (let removed = 0; ; ) {
    signal.throwIfAborted();
    const { numAffectedRows } = await sql`
      DELETE FROM login_addresses WHERE (user_id, address) IN (
        SELECT user_id, address FROM login_addresses
        WHERE last_used_at < now() - ${age} * interval '1 millisecond'
        ORDER BY last_used_at LIMIT ${BATCH}
        FOR UPDATE SKIP LOCKED
      )`.execute(db);
    const count = Number(numAffectedRows ?? 0);
    removed += count;
    if (count < BATCH) return removed;
  }
}

export async function placesOf(db: Db, userId: string): Promise<{ address: string; last_used_at: Date }[]> {
  return db
    .selectFrom("login_addresses")
    .select(["address", "last_used_at"])
    .where("user_id", "=", userId)
    .orderBy("last_used_at", "desc")
    .execute();
}

export async function forgetPlaces(db: Db, userId: string): Promise<void> {
  await db.deleteFrom("login_addresses").where("user_id", "=", userId).execute();
}
