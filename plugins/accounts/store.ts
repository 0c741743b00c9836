import { type Generated, type RawBuilder, type Selectable, sql } from "kysely";
import type { Db, Tx } from "../../src/db/transaction.ts";
import type { Position } from "../../src/http/paging.ts";

/** Only the active ones are there for others. */
export type AccountState = "active" | "suspended" | "deleting";

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
  state: Generated<AccountState>;
  state_changed_at: Date | null;
  email_confirmed_at: Date | null;
  avatar_id: string | null;
  avatar_upload_id: string | null;
}

declare module "../../src/db/schema.ts" {
  interface Schema {
    users: UsersTable;
  }
}

export type AccountRow = Omit<Selectable<UsersTable>, "password_hash">;

/** What is shown of a user wherever one is listed. */
export type UserRow = Pick<AccountRow, "id" | "username" | "display_name" | "is_private" | "avatar_id">;

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
  "state",
  "state_changed_at",
  "email_confirmed_at",
  "avatar_id",
  "avatar_upload_id",
] as const;

/** The columns of a UserRow, for queries that list users. */
export const USER_COLUMNS = [
  "users.id",
  "users.username",
  "users.display_name",
  "users.is_private",
  "users.avatar_id",
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

/** What a password is held against. */
export type Credentials = Pick<Selectable<UsersTable>, "id" | "password_hash" | "state">;

/** @param login a name, or an email address (it has an @, a name has none). */
export async function credentialsByLogin(db: Db, login: string): Promise<Credentials | undefined> {
  return db.selectFrom("users").select(["id", "password_hash", "state"]).where(byLogin(login)).executeTakeFirst();
}

/** Which row of `users` a name or an email address means, for queries. */
export function byLogin(login: string): RawBuilder<boolean> {
  return login.includes("@")
    ? sql<boolean>`lower(users.email) = lower(${login})`
    : sql<boolean>`users.username = ${login.toLowerCase()}`;
}

export async function credentialsById(db: Db, id: string): Promise<Credentials | undefined> {
  return db.selectFrom("users").select(["id", "password_hash", "state"]).where("id", "=", id).executeTakeFirst();
}

/** An account as it stays until the transaction ends, with what its password is held against. */
export type HeldAccount = AccountRow & Pick<Credentials, "password_hash">;

/** Locks the account for a change. */
export async function lockAccount(tx: Tx, id: string): Promise<HeldAccount | undefined> {
  return (
    tx
      .selectFrom("users")
      .select([...ACCOUNT_COLUMNS, "password_hash"])
      .where("id", "=", id)
      // Not the weaker lock: a new name takes this one anyway, and asking for more later is how two wait for each other.
      .forUpdate()
      .executeTakeFirst()
  );
}

/** Keeps everybody from changing the account; others may hold it at the same time. */
export async function holdAccount(tx: Tx, id: string): Promise<HeldAccount | undefined> {
  return tx
    .selectFrom("users")
    .select([...ACCOUNT_COLUMNS, "password_hash"])
    .where("id", "=", id)
    .forShare()
    .executeTakeFirst();
}

/** What its owner may change of an account. */
export type AccountChanges = Partial<
  Pick<AccountRow, "username" | "display_name" | "bio" | "is_private"> & Pick<Credentials, "password_hash">
>;

/** @param changes at least one. */
export async function updateAccount(tx: Tx, id: string, changes: AccountChanges): Promise<AccountRow> {
  return tx.updateTable("users").set(changes).where("id", "=", id).returning(ACCOUNT_COLUMNS).executeTakeFirstOrThrow();
}

export async function setState(tx: Tx, id: string, state: AccountState): Promise<void> {
  await tx.updateTable("users").set({ state, state_changed_at: sql`now()` }).where("id", "=", id).execute();
}

export async function setEmailConfirmed(tx: Tx, id: string): Promise<void> {
  await tx
    .updateTable("users")
    .set({ email_confirmed_at: sql`coalesce(email_confirmed_at, now())` })
    .where("id", "=", id)
    .execute();
}

/** Removes the row, if the account is being deleted and nothing that must not be lost refers to it. */
export async function deleteAccount(db: Db, id: string): Promise<void> {
  await db.deleteFrom("users").where("id", "=", id).where("state", "=", "deleting").execute();
}

/** Accounts that have been deleting for longer than `age` ms, though no job of `queue` is there to do it. */
export async function abandonedDeletions(db: Db, queue: string, age: number): Promise<Array<{ id: string }>> {
  return db
    .selectFrom("users")
    .select("id")
    .where("state", "=", "deleting")
    .where(sql<boolean>`state_changed_at < now() - ${age} * interval '1 millisecond'`)
    .where(
      sql<boolean>`NOT EXISTS (SELECT FROM pgboss.job
        WHERE name = ${queue} AND state < 'completed' AND data->>'user_id' = users.id::text)`,
    )
    .execute();
}

export async function listAccounts(
  db: Db,
  options: { limit: number; after: Position | null; state?: AccountState | undefined },
): Promise<AccountRow[]> {
  const { limit, after, state } = options;
  return db
    .selectFrom("users")
    .select(ACCOUNT_COLUMNS)
    .$if(state !== undefined, (query) => query.where(sql<boolean>`state = ${state ?? null}`))
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

/**
 * Whether the account may act: it is there, and neither suspended nor being deleted. It stays so until the transaction
 * ends: whatever takes it away waits.
 */
export async function holdActive(tx: Tx, id: string): Promise<boolean> {
  const row = await tx
    .selectFrom("users")
    .select("id")
    .where("id", "=", id)
    .where("state", "=", "active")
    .forShare()
    .executeTakeFirst();
  return row !== undefined;
}

export async function addToCounter(tx: Tx, id: string, counter: Counter, by: number): Promise<void> {
  await addToCounters(tx, [id], counter, by);
}

/** The same number to each of these; more than one must be locked before, see `lockAccounts`. */
export async function addToCounters(tx: Tx, ids: readonly string[], counter: Counter, by: number): Promise<void> {
  await tx
    .updateTable("users")
    .set({ [counter]: sql`${sql.ref(counter)} + ${by}` })
    .where("id", "in", ids)
    .execute();
}
