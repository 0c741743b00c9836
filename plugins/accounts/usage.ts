import { sql } from "kysely";
import type { Db } from "../../src/db/transaction.ts";

/** What an operator is told of an account beyond its row. */
export interface Usage {
  sessions: number;
  /** That wait for its answer. */
  follow_requests: number;
  /** Whom it blocks. */
  blocks: number;
  last_used_at: Date | null;
}

/** @param lifetime milliseconds without use after which a session has ended. */
export async function usageOf(db: Db, userId: string, lifetime: number): Promise<Usage> {
  const { rows } = await sql<Usage>`
    SELECT
      (SELECT count(*)::int FROM sessions
       WHERE user_id = ${userId} AND last_used_at > now() - ${lifetime} * interval '1 millisecond') AS sessions,
      (SELECT count(*)::int FROM follow_requests WHERE following_id = ${userId}) AS follow_requests,
      (SELECT count(*)::int FROM blocks WHERE blocker_id = ${userId}) AS blocks,
      (SELECT max(last_used_at) FROM sessions WHERE user_id = ${userId}) AS last_used_at`.execute(db);
  return only(rows);
}

/** What goes with an account when it is deleted. */
export interface Belongings {
  posts: number;
  media: number;
  followers: number;
  following: number;
}

export async function belongingsOf(db: Db, userId: string): Promise<Belongings> {
  const { rows } = await sql<Belongings>`
    SELECT
      (SELECT count(*)::int FROM posts WHERE user_id = ${userId}) AS posts,
      (SELECT count(*)::int FROM media WHERE owner_id = ${userId}) AS media,
      (SELECT count(*)::int FROM follows WHERE following_id = ${userId}) AS followers,
      (SELECT count(*)::int FROM follows WHERE follower_id = ${userId}) AS following`.execute(db);
  return only(rows);
}

function only<Row>([row]: Row[]): Row {
  if (row === undefined) throw new Error("a query of one row gave none");
  return row;
}
