import { type Generated, type Selectable, sql } from "kysely";
import type { Db, Tx } from "../../src/db/transaction.ts";
import type { Position } from "../../src/http/paging.ts";
import type { Viewer } from "../../src/http/types.ts";

export interface UsersTable {
  id: string;
  username: string;
  email: string;
  password_hash: string;
  display_name: string | null;
  bio: string | null;
  is_private: Generated<boolean>;
  post_count: Generated<number>;
  follower_count: Generated<number>;
  following_count: Generated<number>;
  created_at: Generated<Date>;
}

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
    users: UsersTable;
    sessions: SessionsTable;
  }
}

export type AccountRow = Omit<Selectable<UsersTable>, "password_hash">;

export type Counter = "post_count" | "follower_count" | "following_count";

const ACCOUNT_COLUMNS = [
  "id",
  "username",
  "email",
  "display_name",
  "bio",
  "is_private",
  "post_count",
  "follower_count",
  "following_count",
  "created_at",
] as const;

export async function insertAccount(
  db: Db,
  account: Pick<AccountRow, "id" | "username" | "email" | "display_name"> & { password_hash: string },
): Promise<AccountRow> {
  return db
    .insertInto("users")
    .values({ ...account, bio: null })
    .returning(ACCOUNT_COLUMNS)
    .executeTakeFirstOrThrow();
}

export async function accountById(db: Db, id: string): Promise<AccountRow | undefined> {
  return db.selectFrom("users").select(ACCOUNT_COLUMNS).where("id", "=", id).executeTakeFirst();
}

/** @param username in any case. */
export async function accountByName(db: Db, username: string): Promise<AccountRow | undefined> {
  if (username.includes("\0")) return undefined;
  return db
    .selectFrom("users")
    .select(ACCOUNT_COLUMNS)
    .where("username", "=", username.toLowerCase())
    .executeTakeFirst();
}

/** @param login a name, or an email address (it has an @, a name has none). */
export async function credentialsByLogin(
  db: Db,
  login: string,
): Promise<{ id: string; password_hash: string } | undefined> {
  const query = db.selectFrom("users").select(["id", "password_hash"]);
  return login.includes("@")
    ? query.where(sql`lower(email)`, "=", sql`lower(${login})`).executeTakeFirst()
    : query.where("username", "=", login.toLowerCase()).executeTakeFirst();
}

export async function updateProfile(
  db: Db,
  id: string,
  changes: { display_name?: string | null; bio?: string | null },
): Promise<AccountRow | undefined> {
  if (Object.keys(changes).length === 0) return accountById(db, id);
  return db.updateTable("users").set(changes).where("id", "=", id).returning(ACCOUNT_COLUMNS).executeTakeFirst();
}

export async function listAccounts(db: Db, options: { limit: number; after: Position | null }): Promise<AccountRow[]> {
  const { limit, after } = options;
  return db
    .selectFrom("users")
    .select(ACCOUNT_COLUMNS)
    .$if(after !== null, (query) =>
      query.where(sql<boolean>`(created_at, id) < (${after?.at ?? null}::timestamptz, ${after?.id ?? null}::uuid)`),
    )
    .orderBy("created_at", "desc")
    .orderBy("id", "desc")
    .limit(limit)
    .execute();
}

/**
 * Locks the accounts against every other change of their relations and counters, in the order of their ids, so that
 * two transactions about the same two people never wait for each other.
 */
export async function lockAccounts(tx: Tx, ids: readonly string[]): Promise<void> {
  await tx.selectFrom("users").select("id").where("id", "in", ids).orderBy("id").forNoKeyUpdate().execute();
}

export async function addToCounter(tx: Tx, id: string, counter: Counter, by: 1 | -1): Promise<void> {
  await tx
    .updateTable("users")
    .set({ [counter]: sql`${sql.ref(counter)} + ${by}` })
    .where("id", "=", id)
    .execute();
}

export async function insertSession(
  db: Db,
  session: { id: string; user_id: string; token_hash: Buffer; address: string; user_agent: string | null },
): Promise<void> {
  await db.insertInto("sessions").values(session).execute();
}

/** The viewer of a token, if the session was used within `lifetime` ms; notes the use, at most once a minute. */
export async function viewerByToken(db: Db, tokenHash: Buffer, lifetime: number): Promise<Viewer | null> {
  const row = await db
    .selectFrom("sessions")
    .innerJoin("users", "users.id", "sessions.user_id")
    .select(["users.id", "users.username", "sessions.id as session_id"])
    .select(sql<boolean>`sessions.last_used_at < now() - interval '1 minute'`.as("stale"))
    .where("token_hash", "=", tokenHash)
    .where(unexpired(lifetime))
    .executeTakeFirst();
  if (!row) return null;
  const { stale, ...viewer } = row;
  if (stale) {
    await db.updateTable("sessions").set({ last_used_at: sql`now()` }).where("id", "=", viewer.session_id).execute();
  }
  return viewer;
}

export async function deleteSession(db: Db, id: string): Promise<void> {
  await db.deleteFrom("sessions").where("id", "=", id).execute();
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
