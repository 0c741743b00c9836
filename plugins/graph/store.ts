import { type Generated, type RawBuilder, sql } from "kysely";
import type { Db, Tx } from "../../src/db/transaction.ts";
import type { Position } from "../../src/http/paging.ts";
import { type AccountRow, USER_COLUMNS, type UserRow } from "../accounts/index.ts";
import { mayBeKnownTo, mayBeListedFor } from "./visibility.ts";

export interface FollowRequestsTable {
  follower_id: string;
  following_id: string;
  created_at: Generated<Date>;
}

export interface FollowsTable extends FollowRequestsTable {
  /** Whether both ends' counters count it: not while one of them has vanished. See settle-counts.ts. */
  counted: Generated<boolean>;
}

export interface BlocksTable {
  blocker_id: string;
  blocked_id: string;
  created_at: Generated<Date>;
}

export interface MutesTable {
  muter_id: string;
  muted_id: string;
  created_at: Generated<Date>;
}

export interface CloseFriendsTable {
  owner_id: string;
  friend_id: string;
  created_at: Generated<Date>;
}

export interface StoryHidesTable {
  owner_id: string;
  hidden_id: string;
  created_at: Generated<Date>;
}

declare module "../../src/db/schema.ts" {
  interface Schema {
    close_friends: CloseFriendsTable;
    story_hides: StoryHidesTable;
    follows: FollowsTable;
    follow_requests: FollowRequestsTable;
    blocks: BlocksTable;
    mutes: MutesTable;
  }
}

/** What a viewer is to an account, and with `followed_by` the account to the viewer. */
export interface Relationship {
  following: boolean;
  requested: boolean;
  followed_by: boolean;
  blocking: boolean;
  muting: boolean;
}

/** Another's account, and whether the viewer blocks it. */
export type Account = Pick<AccountRow, "id" | "username" | "is_private"> & { blocking: boolean };

export type ProfileRow = UserRow &
  Pick<AccountRow, "bio" | "post_count" | "follower_count" | "following_count"> & { relationship: Relationship };

export type ListedUser = UserRow & { relationship: Relationship; listed_at: Date };

type Follow = Pick<FollowsTable, "follower_id" | "following_id">;
type Block = Pick<BlocksTable, "blocker_id" | "blocked_id">;
type Mute = Pick<MutesTable, "muter_id" | "muted_id">;
type CloseFriend = Pick<CloseFriendsTable, "owner_id" | "friend_id">;
type StoryHide = Pick<StoryHidesTable, "owner_id" | "hidden_id">;

/** The account, if it is there and `condition` holds: one query, whichever of the two is why there is no answer. */
export async function findAccount(
  db: Db,
  viewerId: string,
  by: { id: string } | { username: string },
  condition: RawBuilder<boolean>,
): Promise<Account | undefined> {
  return db
    .selectFrom("users")
    .select(["id", "username", "is_private"])
    .select(
      sql<boolean>`EXISTS (SELECT FROM blocks WHERE blocker_id = ${viewerId} AND blocked_id = users.id)`.as("blocking"),
    )
    .where("id" in by ? sql<boolean>`id = ${by.id}` : named(by.username))
    .where(condition)
    .executeTakeFirst();
}

/** An account as the viewer may know it, with what they are to each other. */
export async function profileByName(db: Db, viewerId: string, username: string): Promise<ProfileRow | undefined> {
  return db
    .selectFrom("users")
    .select([...USER_COLUMNS, "bio", "post_count", "follower_count", "following_count"])
    .select(relationshipTo(viewerId).as("relationship"))
    .where(named(username))
    .where(mayBeKnownTo(viewerId))
    .executeTakeFirst();
}

/** A name in any case; one that Postgres cannot hold is nobody's. */
function named(username: string): RawBuilder<boolean> {
  const storable = username.isWellFormed() && !username.includes("\0");
  return sql<boolean>`username = ${storable ? username.toLowerCase() : ""}`;
}

/**
 * The relationship between the viewer and a user of the query, as JSON: five descents of an index, in the same query as
 * the users themselves, however many are listed.
 */
export function relationshipTo(viewerId: string, user = "users"): RawBuilder<Relationship> {
  const id = sql.ref(`${user}.id`);
  return sql<Relationship>`json_build_object(
    'following', EXISTS (SELECT FROM follows WHERE follower_id = ${viewerId}::uuid AND following_id = ${id}),
    'requested', EXISTS (SELECT FROM follow_requests WHERE follower_id = ${viewerId}::uuid AND following_id = ${id}),
    'followed_by', EXISTS (SELECT FROM follows WHERE follower_id = ${id} AND following_id = ${viewerId}::uuid),
    'blocking', EXISTS (SELECT FROM blocks WHERE blocker_id = ${viewerId}::uuid AND blocked_id = ${id}),
    'muting', EXISTS (SELECT FROM mutes WHERE muter_id = ${viewerId}::uuid AND muted_id = ${id}))`;
}

/** The lists of people: whose relation they are, where it is kept, which column is the owner's and which the other's. */
const LISTS = {
  followers: { table: "follows", owner: "following_id", other: "follower_id" },
  following: { table: "follows", owner: "follower_id", other: "following_id" },
  requests: { table: "follow_requests", owner: "following_id", other: "follower_id" },
  sent_requests: { table: "follow_requests", owner: "follower_id", other: "following_id" },
  blocks: { table: "blocks", owner: "blocker_id", other: "blocked_id" },
  mutes: { table: "mutes", owner: "muter_id", other: "muted_id" },
  close_friends: { table: "close_friends", owner: "owner_id", other: "friend_id" },
  story_hides: { table: "story_hides", owner: "owner_id", other: "hidden_id" },
} as const;

export type List = keyof typeof LISTS;

/**
 * One page of a list, latest first, of those whom the viewer may be shown. One's own list of blocked people shows
 * whom one blocks; no other list does.
 */
export async function listPeople(
  db: Db,
  viewerId: string,
  options: { userId: string; list: List; limit: number; after: Position | null },
): Promise<ListedUser[]> {
  const { userId, list, limit, after } = options;
  const relation = LISTS[list];
  const column = (name: string) => sql.ref(`relation.${name}`);
  const shown = list === "blocks" ? mayBeKnownTo(viewerId) : mayBeListedFor(viewerId);
  const { rows } = await sql<ListedUser>`
    SELECT ${sql.join(USER_COLUMNS.map((name) => sql.ref(name)))}, relation.created_at AS listed_at,
           ${relationshipTo(viewerId)} AS relationship
    FROM ${sql.table(relation.table)} AS relation
    JOIN users ON users.id = ${column(relation.other)}
    WHERE ${column(relation.owner)} = ${userId} AND ${shown}
      ${after ? sql`AND (relation.created_at, ${column(relation.other)}) < (${after.at}, ${after.id}::uuid)` : sql``}
    ORDER BY relation.created_at DESC, ${column(relation.other)} DESC LIMIT ${limit}`.execute(db);
  return rows;
}

export async function isFollowing(tx: Tx, pair: Follow): Promise<boolean> {
  const row = await tx
    .selectFrom("follows")
    .select("follower_id")
    .where("follower_id", "=", pair.follower_id)
    .where("following_id", "=", pair.following_id)
    .executeTakeFirst();
  return row !== undefined;
}

/**
 * A follow that is counted, so both must be active.
 * @returns whether the row is new; and so below.
 */
export async function insertFollow(tx: Tx, pair: Follow): Promise<boolean> {
  return insertNew(tx, "follows", pair);
}

export async function insertRequest(tx: Tx, pair: Follow): Promise<boolean> {
  return insertNew(tx, "follow_requests", pair);
}

export async function insertBlock(tx: Tx, pair: Block): Promise<boolean> {
  return insertNew(tx, "blocks", pair);
}

export async function insertMute(tx: Tx, pair: Mute): Promise<boolean> {
  return insertNew(tx, "mutes", pair);
}

export async function insertCloseFriend(tx: Tx, pair: CloseFriend): Promise<boolean> {
  return insertNew(tx, "close_friends", pair);
}

export async function insertStoryHide(tx: Tx, pair: StoryHide): Promise<boolean> {
  return insertNew(tx, "story_hides", pair);
}

/** @returns what there was. */
export async function deleteFollow(tx: Tx, pair: Follow): Promise<{ counted: boolean } | undefined> {
  return tx
    .deleteFrom("follows")
    .where("follower_id", "=", pair.follower_id)
    .where("following_id", "=", pair.following_id)
    .returning("counted")
    .executeTakeFirst();
}

/** @returns whether there was one; and so below. */
export async function deleteRequest(tx: Tx, pair: Follow): Promise<boolean> {
  return deleteOne(tx, "follow_requests", pair);
}

export async function deleteBlock(tx: Tx, pair: Block): Promise<boolean> {
  return deleteOne(tx, "blocks", pair);
}

export async function deleteMute(tx: Tx, pair: Mute): Promise<boolean> {
  return deleteOne(tx, "mutes", pair);
}

export async function deleteCloseFriend(tx: Tx, pair: CloseFriend): Promise<boolean> {
  return deleteOne(tx, "close_friends", pair);
}

export async function deleteStoryHide(tx: Tx, pair: StoryHide): Promise<boolean> {
  return deleteOne(tx, "story_hides", pair);
}

type RelationTable = (typeof LISTS)[List]["table"];

async function insertNew(tx: Tx, table: RelationTable, row: object): Promise<boolean> {
  const columns = sql.join(Object.keys(row).map((name) => sql.ref(name)));
  const result = await sql`
    INSERT INTO ${sql.table(table)} (${columns}) VALUES (${sql.join(Object.values(row))})
    ON CONFLICT DO NOTHING`.execute(tx);
  return result.numAffectedRows === 1n;
}

async function deleteOne(tx: Tx, table: RelationTable, row: object): Promise<boolean> {
  const matches = Object.entries(row).map(([name, value]) => sql`${sql.ref(name)} = ${value}`);
  const result = await sql`DELETE FROM ${sql.table(table)} WHERE ${sql.join(matches, sql` AND `)}`.execute(tx);
  return result.numAffectedRows === 1n;
}
