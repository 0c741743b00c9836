import { type Generated, sql } from "kysely";
import type { Db, Tx } from "../../src/db/transaction.ts";
import type { Position } from "../../src/http/paging.ts";
import type { AccountRow } from "../accounts/index.ts";
import { mayBeSeenBy } from "./visibility.ts";

export interface FollowsTable {
  follower_id: string;
  following_id: string;
  created_at: Generated<Date>;
}

declare module "../../src/db/schema.ts" {
  interface Schema {
    follows: FollowsTable;
  }
}

/** What a viewer is to an account, and the account to the viewer. */
export interface Relationship {
  following: boolean;
  requested: boolean;
  followed_by: boolean;
  blocking: boolean;
  muting: boolean;
}

export type ListedFollow = Pick<AccountRow, "id" | "username" | "display_name"> & { followed_at: Date };

/** @returns whether the row is new. */
export async function insertFollow(tx: Tx, followerId: string, followingId: string): Promise<boolean> {
  const result = await tx
    .insertInto("follows")
    .values({ follower_id: followerId, following_id: followingId })
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirst();
  return result.numInsertedOrUpdatedRows === 1n;
}

/** @returns whether there was one. */
export async function deleteFollow(tx: Tx, followerId: string, followingId: string): Promise<boolean> {
  const result = await tx
    .deleteFrom("follows")
    .where("follower_id", "=", followerId)
    .where("following_id", "=", followingId)
    .executeTakeFirst();
  return result.numDeletedRows === 1n;
}

export async function relationship(db: Db, viewerId: string, userId: string): Promise<Relationship> {
  const { rows } = await sql<{ following: boolean; followed_by: boolean }>`
    SELECT EXISTS (SELECT FROM follows WHERE follower_id = ${viewerId} AND following_id = ${userId}) AS following,
           EXISTS (SELECT FROM follows WHERE follower_id = ${userId} AND following_id = ${viewerId}) AS followed_by`.execute(
    db,
  );
  return {
    following: rows[0]?.following ?? false,
    followed_by: rows[0]?.followed_by ?? false,
    requested: false,
    blocking: false,
    muting: false,
  };
}

/** Whether the viewer may see what the account shares. */
export async function maySee(db: Db, viewerId: string, userId: string): Promise<boolean> {
  const row = await db
    .selectFrom("users")
    .select("id")
    .where("id", "=", userId)
    .where(mayBeSeenBy(viewerId))
    .executeTakeFirst();
  return row !== undefined;
}

/** One page of an account's followers, or of those that it follows; latest first. */
export async function listFollows(
  db: Db,
  options: { userId: string; list: "followers" | "following"; limit: number; after: Position | null },
): Promise<ListedFollow[]> {
  const { userId, list, limit, after } = options;
  const [mine, theirs] =
    list === "followers" ? (["following_id", "follower_id"] as const) : (["follower_id", "following_id"] as const);
  return db
    .selectFrom("follows")
    .innerJoin("users", "users.id", `follows.${theirs}`)
    .select(["users.id", "users.username", "users.display_name", "follows.created_at as followed_at"])
    .where(`follows.${mine}`, "=", userId)
    .$if(after !== null, (query) =>
      query.where(
        sql<boolean>`(follows.created_at, ${sql.ref(`follows.${theirs}`)}) < (${after?.at ?? null}::timestamptz, ${after?.id ?? null}::uuid)`,
      ),
    )
    .orderBy("follows.created_at", "desc")
    .orderBy(`follows.${theirs}`, "desc")
    .limit(limit)
    .execute();
}
