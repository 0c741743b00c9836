import { sql } from "kysely";
import type { Db, Tx } from "../../src/db/transaction.ts";
import type { Position } from "../../src/http/paging.ts";
import { addToCounter, addToCounters } from "../accounts/index.ts";

/** What store.ts does for two people, for one and many others. */

/**
 * How many ids to read at a time. Each read passes the entries of all that was deleted before it, which an index keeps
 * until a vacuum: with a million followers and transactions of 300, a hundred reads and not 3,333.
 */
export const READ = 10_000;

/** How many accounts one transaction may hold. */
export const BATCH = 300;

/** A table of relations, from one account to another. */
export interface Relation {
  table: "follows" | "follow_requests" | "blocks" | "mutes" | "close_friends" | "story_hides";
  from: "follower_id" | "blocker_id" | "muter_id" | "owner_id";
  to: "following_id" | "blocked_id" | "muted_id" | "friend_id" | "hidden_id";
}

export const RELATIONS = {
  follows: { table: "follows", from: "follower_id", to: "following_id" },
  requests: { table: "follow_requests", from: "follower_id", to: "following_id" },
  blocks: { table: "blocks", from: "blocker_id", to: "blocked_id" },
  mutes: { table: "mutes", from: "muter_id", to: "muted_id" },
  closeFriends: { table: "close_friends", from: "owner_id", to: "friend_id" },
  storyHides: { table: "story_hides", from: "owner_id", to: "hidden_id" },
} as const satisfies Record<string, Relation>;

/** On which end of a relation an account stands. */
export type End = "from" | "to";

/** @returns some of those at the other end, in no order. */
export async function someOthers(
  db: Db,
  relation: Relation,
  { userId, end, limit }: { userId: string; end: End; limit: number },
): Promise<string[]> {
  const [own, other] = columns(relation, end);
  const { rows } = await sql<{ id: string }>`
    SELECT ${other} AS id FROM ${sql.table(relation.table)} WHERE ${own} = ${userId} LIMIT ${limit}`.execute(db);
  return rows.map((row) => row.id);
}

/** Who is at the other end of a relation, and for a follow whether both ends' counters count it. */
export interface Related {
  id: string;
  counted: boolean;
}

/** Ends the account's relations with these others. @returns those with whom there was one. */
export async function deleteRelations(
  tx: Tx,
  relation: Relation,
  { userId, end, others }: { userId: string; end: End; others: readonly string[] },
): Promise<Related[]> {
  const [own, other] = columns(relation, end);
  const counted = relation.table === "follows" ? sql.ref("counted") : sql`false`;
  const { rows } = await sql<Related>`
    DELETE FROM ${sql.table(relation.table)} WHERE ${own} = ${userId} AND ${other} = ANY(${others}::uuid[])
    RETURNING ${other} AS id, ${counted} AS counted`.execute(tx);
  return rows;
}

/** For an active account; those who are suspended follow it too, uncounted. @returns those who did not follow yet. */
export async function insertFollowers(tx: Tx, userId: string, followers: readonly string[]): Promise<Related[]> {
  const { rows } = await sql<Related>`
    INSERT INTO follows (follower_id, following_id, counted)
    SELECT id, ${userId}::uuid, state = 'active' FROM users WHERE id = ANY(${followers}::uuid[])
    ON CONFLICT DO NOTHING RETURNING follower_id AS id, counted`.execute(tx);
  return rows;
}

/** Adds to the counters of both ends of the follows between the account and these others; all are locked. */
export async function addToFollowCounts(
  tx: Tx,
  { userId, end, others }: { userId: string; end: End; others: readonly string[] },
  by: 1 | -1,
): Promise<void> {
  if (others.length === 0) return;
  const [own, their] =
    end === "from"
      ? (["following_count", "follower_count"] as const)
      : (["follower_count", "following_count"] as const);
  await addToCounters(tx, others, their, by);
  await addToCounter(tx, userId, own, by * others.length);
}

/** A follow of `own` that is counted though one of the two has vanished, or the other way round. */
const MISCOUNTED = sql<boolean>`follows.counted <> (own.state = 'active' AND other.state = 'active')`;

/**
 * A page of those with whom the account has a miscounted follow, the latest first. A walk, and no search from the
 * beginning each time: that would pass everything which is in order already, again and again.
 */
export async function miscounted(
  db: Db,
  { userId, end, limit, after }: { userId: string; end: End; limit: number; after: Position | null },
): Promise<Position[]> {
  const [own, other] = columns(RELATIONS.follows, end);
  const { rows } = await sql<Position>`
    SELECT follows.created_at AS at, ${other} AS id
    FROM follows JOIN users AS own ON own.id = ${own} JOIN users AS other ON other.id = ${other}
    WHERE ${own} = ${userId} AND ${MISCOUNTED}
      ${after ? sql`AND (follows.created_at, ${other}) < (${after.at}, ${after.id}::uuid)` : sql``}
    ORDER BY follows.created_at DESC, ${other} DESC LIMIT ${limit}`.execute(db);
  return rows;
}

/** Turns what is miscounted of the follows between the account and these others. @returns those, as they are now. */
export async function settleFollows(
  tx: Tx,
  { userId, end, others }: { userId: string; end: End; others: readonly string[] },
): Promise<Related[]> {
  const [own, other] = columns(RELATIONS.follows, end);
  const { rows } = await sql<Related>`
    UPDATE follows SET counted = NOT counted FROM users AS own, users AS other
    WHERE own.id = ${own} AND other.id = ${other}
      AND ${own} = ${userId} AND ${other} = ANY(${others}::uuid[]) AND ${MISCOUNTED}
    RETURNING ${other} AS id, follows.counted`.execute(tx);
  return rows;
}

/**
 * Who asks to follow the account, the earliest first, but those who are being deleted: their requests go with them.
 * @param options.lock holds their accounts, and leaves out those that somebody else holds: it never waits.
 */
export async function requesters(
  db: Db,
  userId: string,
  { limit, lock = false }: { limit: number; lock?: boolean },
): Promise<string[]> {
  const { rows } = await sql<{ id: string }>`
    SELECT users.id FROM follow_requests JOIN users ON users.id = follow_requests.follower_id
    WHERE follow_requests.following_id = ${userId} AND users.state <> 'deleting'
    ORDER BY follow_requests.created_at, follow_requests.follower_id LIMIT ${limit}
    ${lock ? sql`FOR NO KEY UPDATE OF users SKIP LOCKED` : sql``}`.execute(db);
  return rows.map((row) => row.id);
}

/** Of these accounts, the ones that are not being deleted. */
export async function staying(tx: Tx, ids: readonly string[]): Promise<string[]> {
  const { rows } = await sql<{ id: string }>`
    SELECT id FROM users WHERE id = ANY(${ids}::uuid[]) AND state <> 'deleting'`.execute(tx);
  return rows.map((row) => row.id);
}

/** Whether everybody may follow the account without asking. */
export async function isOpen(tx: Tx, userId: string): Promise<boolean> {
  const row = await tx
    .selectFrom("users")
    .select("id")
    .where("id", "=", userId)
    .where("state", "=", "active")
    .where("is_private", "=", false)
    .executeTakeFirst();
  return row !== undefined;
}

/** The account's own column and the other's. */
function columns({ table, from, to }: Relation, end: End) {
  const names = end === "from" ? ([from, to] as const) : ([to, from] as const);
  return names.map((name) => sql.ref(`${table}.${name}`));
}
