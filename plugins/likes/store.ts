import { type Generated, sql } from "kysely";
import { type BoundedPage, boundedPage } from "../../src/db/bounded-page.ts";
import type { Db, Tx } from "../../src/db/transaction.ts";
import type { Position } from "../../src/http/paging.ts";
import { USER_COLUMNS, type UserRow } from "../accounts/index.ts";
import { mayBeListedFor, type Relationship, relationshipTo } from "../graph/index.ts";
import { likeCountOf, type SeenPost, seenPost } from "../posts/index.ts";

export interface LikesTable {
  user_id: string;
  post_id: string;
  created_at: Generated<Date>;
}

export interface LikeLogTable {
  id: Generated<number>;
  post_id: string;
  /** Of the post. */
  author_id: string;
  user_id: string;
  delta: 1 | -1;
  created_at: Generated<Date>;
}

export interface LikeCountsTable {
  post_id: string;
  /** What was rolled up: the likes of the post are this and what the log has of it. */
  like_count: number;
}

declare module "../../src/db/schema.ts" {
  interface Schema {
    likes: LikesTable;
    like_log: LikeLogTable;
    like_counts: LikeCountsTable;
  }
}

/** What a statement tells of the post that it was about, and whether it changed anything. */
export type Changed = Pick<SeenPost, "published"> & { changed: boolean };

/**
 * Likes the post if it is published, in one statement of its own: who waits for the same row waits for one commit and no more, and a post
 * that everybody likes has no row that they all change. The log is written exactly if the row was made.
 * @returns undefined where there is no such post for the viewer.
 */
export async function insertLike(db: Db, viewerId: string, postId: string): Promise<Changed | undefined> {
  const { rows } = await sql<Changed>`
    WITH post AS (${seenPost(viewerId, postId)}),
    made AS (
      INSERT INTO likes (user_id, post_id) SELECT ${viewerId}::uuid, id FROM post WHERE published
      ON CONFLICT DO NOTHING RETURNING created_at
    ),
    logged AS (
      INSERT INTO like_log (post_id, author_id, user_id, delta, created_at)
      SELECT id, author_id, ${viewerId}::uuid, 1, created_at FROM post, made
    )
    SELECT published, EXISTS (SELECT FROM made) AS changed FROM post`.execute(db);
  return rows[0];
}

/** @returns undefined where there is no such post for the viewer. */
export async function deleteLike(db: Db, viewerId: string, postId: string): Promise<Changed | undefined> {
  const { rows } = await sql<Changed>`
    WITH post AS (${seenPost(viewerId, postId)}),
    gone AS (
      DELETE FROM likes USING post WHERE likes.user_id = ${viewerId}::uuid AND likes.post_id = post.id
      RETURNING likes.post_id
    ),
    logged AS (
      INSERT INTO like_log (post_id, author_id, user_id, delta)
      SELECT id, author_id, ${viewerId}::uuid, -1 FROM post, gone
    )
    SELECT published, EXISTS (SELECT FROM gone) AS changed FROM post`.execute(db);
  return rows[0];
}

/** The likes of each of these posts, those that are not rolled up included. */
export async function likeCounts(db: Db, postIds: readonly string[]): Promise<Map<string, number>> {
  const { rows } = await sql<{ id: string; likes: number }>`
    SELECT id, ${likeCountOf("wanted.id")} AS likes FROM unnest(${postIds}::uuid[]) AS wanted (id)`.execute(db);
  return new Map(rows.map(({ id, likes }) => [id, likes]));
}

export type Liker = UserRow & { relationship: Relationship; liked_at: Date };

/** One page of those who like a post, latest first, of those whom the viewer may be shown. */
export function listLikers(
  db: Db,
  viewerId: string,
  { postId, ...page }: { postId: string; limit: number; after: Position | null },
): Promise<BoundedPage<Liker>> {
  return boundedPage(
    db,
    {
      from: sql`likes WHERE post_id = ${postId}::uuid`,
      columns: sql`user_id, created_at`,
      at: "created_at",
      id: "user_id",
      seen: sql`JOIN users ON users.id = entries.user_id WHERE ${mayBeListedFor(viewerId)}`,
      page: sql`${sql.join(USER_COLUMNS.map((name) => sql.ref(name)))}, entries.user_id, entries.created_at,
        entries.created_at AS liked_at, ${relationshipTo(viewerId)} AS relationship`,
    },
    page,
  );
}

/** How many rows the log has; it stops counting at `most`. */
export async function countLog(db: Db, most: number): Promise<number> {
  const { rows } = await sql<{ rows: number }>`
    SELECT count(*)::int AS rows FROM (SELECT FROM like_log LIMIT ${most}) AS log`.execute(db);
  return rows[0]?.rows ?? 0;
}

/** A page of what an account likes, by post. */
export async function likesOf(
  db: Db,
  userId: string,
  options: { limit: number; after: string },
): Promise<{ post_id: string; liked_at: Date }[]> {
  const { limit, after } = options;
  return db
    .selectFrom("likes")
    .select(["post_id", "created_at as liked_at"])
    .where("user_id", "=", userId)
    .where("post_id", ">", after)
    .orderBy("post_id")
    .limit(limit)
    .execute();
}

/** Takes some likes of an account back, as if it had done so itself. @returns how many. */
export async function deleteSomeLikes(tx: Tx, userId: string, limit: number): Promise<number> {
  const { rows } = await sql<{ deleted: number }>`
    WITH gone AS (
      DELETE FROM likes WHERE user_id = ${userId}::uuid AND post_id IN (
        SELECT post_id FROM likes WHERE user_id = ${userId}::uuid ORDER BY post_id LIMIT ${limit})
      RETURNING post_id
    ),
    -- Of a post that is gone, nobody counts them any more; they go all the same.
    logged AS (
      INSERT INTO like_log (post_id, author_id, user_id, delta)
      SELECT posts.id, posts.user_id, ${userId}::uuid, -1 FROM gone JOIN posts ON posts.id = gone.post_id
    )
    SELECT count(*)::int AS deleted FROM gone`.execute(tx);
  return rows[0]?.deleted ?? 0;
}
