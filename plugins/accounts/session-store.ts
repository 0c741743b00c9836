import { type Generated, type Selectable, sql } from "kysely";
import type { Db, Tx } from "../../src/db/transaction.ts";
import type { Position } from "../../src/http/paging.ts";
import type { FoundSession } from "./session-cache.ts";

export interface SessionsTable {
  id: string;
  user_id: string;
  token_hash: Buffer;
  address: string;
  user_agent: string | null;
  created_at: Generated<Date>;
  last_used_at: Generated<Date>;
}

declare module "../../src/db/schema.ts" {
  interface Schema {
    sessions: SessionsTable;
  }
}

export type SessionRow = Omit<Selectable<SessionsTable>, "user_id" | "token_hash">;

export async function insertSession(
  tx: Tx,
  session: { id: string; user_id: string; token_hash: Buffer; address: string; user_agent: string | null },
): Promise<void> {
  await tx.insertInto("sessions").values(session).execute();
}

/** The session of a token, if it was used within `lifetime` ms; notes the use, at most once a minute. */
export async function sessionByToken(db: Db, tokenHash: Buffer, lifetime: number): Promise<FoundSession | null> {
  const row = await db
    .selectFrom("sessions")
    .innerJoin("users", "users.id", "sessions.user_id")
    .select(["users.id", "users.username", "sessions.id as session_id"])
    .select(sql<boolean>`sessions.last_used_at < now() - interval '1 minute'`.as("stale"))
    .select(sql<number>`(extract(epoch FROM sessions.last_used_at - now()) * 1000)::float8 + ${lifetime}`.as("left"))
    .where("token_hash", "=", tokenHash)
    .where("users.state", "=", "active")
    .where(unexpired(lifetime))
    .executeTakeFirst();
  if (!row) return null;
  const { stale, left, ...viewer } = row;
  if (stale) {
    await db.updateTable("sessions").set({ last_used_at: sql`now()` }).where("id", "=", viewer.session_id).execute();
  }
  return { viewer, left };
}

/** The sessions that are still good, latest first. */
export async function listSessions(
  db: Db,
  options: { userId: string; lifetime: number; limit: number; after: Position | null },
): Promise<SessionRow[]> {
  const { userId, lifetime, limit, after } = options;
  return db
    .selectFrom("sessions")
    .select(["id", "address", "user_agent", "created_at", "last_used_at"])
    .where("user_id", "=", userId)
    .where(unexpired(lifetime))
    .$if(after !== null, (query) =>
      query.where(sql<boolean>`(created_at, id) < (${after?.at ?? null}::timestamptz, ${after?.id ?? null}::uuid)`),
    )
    .orderBy("created_at", "desc")
    .orderBy("id", "desc")
    .limit(limit)
    .execute();
}

/** @returns whether the account had such a session. */
export async function deleteSession(db: Db, session: { id: string; userId: string }): Promise<boolean> {
  const result = await db
    .deleteFrom("sessions")
    .where("id", "=", session.id)
    .where("user_id", "=", session.userId)
    .executeTakeFirst();
  return result.numDeletedRows === 1n;
}

/** Ends all sessions of an account, but `except`. */
export async function deleteSessions(tx: Tx, userId: string, except: string | null = null): Promise<void> {
  await tx
    .deleteFrom("sessions")
    .where("user_id", "=", userId)
    .$if(except !== null, (query) => query.where("id", "<>", except ?? ""))
    .execute();
}

/** @returns how many sessions had not been used for `lifetime` ms and are gone. */
export async function deleteExpiredSessions(db: Db, lifetime: number): Promise<number> {
  const result = await db
    .deleteFrom("sessions")
    .where(sql<boolean>`NOT (${unexpired(lifetime)})`)
    .executeTakeFirst();
  return Number(result.numDeletedRows);
}

function unexpired(lifetime: number) {
  return sql<boolean>`sessions.last_used_at > now() - ${lifetime} * interval '1 millisecond'`;
}
