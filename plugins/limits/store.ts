import { type Generated, sql } from "kysely";
import { type Db, inTransaction, type Tx } from "../../src/db/transaction.ts";
import { byLogin } from "../accounts/index.ts";
import { placeOf } from "./subjects.ts";

export interface LoginAddressesTable {
  user_id: string;
  /** As `placeOf` has it. */
  address: string;
  /** Or else has only been used a session there. */
  signed_in: boolean;
  last_used_at: Generated<Date>;
}

declare module "../../src/db/schema.ts" {
  interface Schema {
    login_addresses: LoginAddressesTable;
  }
}

/** Of one account those where its owner has signed in, and as many others; the oldest go. */
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

/** The owner of the account has signed in there. */
export async function rememberPlace(tx: Tx, userId: string, place: string): Promise<void> {
  const { rows } = await sql`
    INSERT INTO login_addresses (user_id, address, signed_in) VALUES (${userId}, ${place}, true)
    ON CONFLICT (user_id, address) DO UPDATE SET last_used_at = now(), signed_in = true
      WHERE login_addresses.last_used_at < now() - interval '1 hour' OR NOT login_addresses.signed_in
    RETURNING true`.execute(tx);
  if (rows.length > 0) await forgetOldest(tx, userId, true);
}

/**
 * Somebody is there with a session; nothing where it has ended.
 * @returns false where the account is being changed, and it has to be told again.
 */
export async function rememberUse(db: Db, sessionId: string, place: string): Promise<boolean> {
  const { rows } = await sql<{ user_id: string }>`
    SELECT user_id FROM sessions WHERE id = ${sessionId} AND NOT EXISTS (
      SELECT FROM login_addresses AS known
      WHERE known.user_id = sessions.user_id AND known.address = ${place}
        AND known.last_used_at > now() - interval '1 hour')`.execute(db);
  const userId = rows[0]?.user_id;
  if (userId === undefined) return true;
  return inTransaction(db, async (tx) => {
    // The account before its session and its places, as whoever changes the password does. It is not waited for: no request
    // waits for this, so nothing would bound how many wait.
    const account = await sql`SELECT FROM users WHERE id = ${userId} FOR KEY SHARE SKIP LOCKED`.execute(tx);
    if (account.rows.length === 0) return false;
    const added = await sql`
      INSERT INTO login_addresses (user_id, address, signed_in)
      SELECT user_id, ${place}, false FROM sessions WHERE id = ${sessionId} FOR KEY SHARE
      ON CONFLICT (user_id, address) DO UPDATE SET last_used_at = now()
      RETURNING true`.execute(tx);
    if (added.rows.length > 0) await forgetOldest(tx, userId, false);
    return true;
  });
}

/** Whoever signs in at the same time may be removing the same ones: those are left to them, or each could wait for the other. */
async function forgetOldest(tx: Tx, userId: string, signedIn: boolean): Promise<void> {
  const places = sql`login_addresses WHERE user_id = ${userId} AND signed_in = ${signedIn}`;
  await sql`
    DELETE FROM login_addresses WHERE user_id = ${userId} AND address IN (
      SELECT address FROM ${places} AND last_used_at <= (
        SELECT last_used_at FROM ${places} ORDER BY last_used_at DESC OFFSET ${MOST_KEPT} LIMIT 1)
      FOR UPDATE SKIP LOCKED)`.execute(tx);
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
