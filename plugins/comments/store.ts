import { type Generated, type Insertable, type Selectable, sql } from "kysely";
import type { Db, Tx } from "../../src/db/transaction.ts";
import type { StoredEntity } from "../entities/index.ts";

export interface CommentsTable {
  id: string;
  post_id: string;
  user_id: string;
  parent_id: string | null;
  text: string;
  entities: StoredEntity[];
  reply_count: Generated<number>;
  like_count: Generated<number>;
  created_at: Generated<Date>;
  removed_at: Date | null;
}

export interface CommentLikesTable {
  user_id: string;
  comment_id: string;
  created_at: Generated<Date>;
}

export interface CommentCountsTable {
  post_id: string;
  comment_count: number;
}

declare module "../../src/db/schema.ts" {
  interface Schema {
    comments: CommentsTable;
    comment_likes: CommentLikesTable;
    comment_counts: CommentCountsTable;
  }
}

/** What decides whether a post takes a comment. It stays so, and the post stays, until the transaction ends. */
export async function holdPost(
  tx: Tx,
  id: string,
): Promise<{ user_id: string; status: string; comments_closed: boolean } | undefined> {
  return tx
    .selectFrom("posts")
    .select(["user_id", "status", "comments_closed"])
    .where("id", "=", id)
    .forKeyShare()
    .executeTakeFirst();
}

/**
 * Counts one more comment of a post. All that changes the comments of one post, but for likes on them, happens one after
 * the other from here on: this row is locked first.
 */
export async function countComment(tx: Tx, postId: string): Promise<void> {
  await sql`
    INSERT INTO comment_counts (post_id, comment_count) VALUES (${postId}, 1)
    ON CONFLICT (post_id) DO UPDATE SET comment_count = comment_counts.comment_count + 1`.execute(tx);
}

/** Takes the lock of `countComment`. */
export async function lockCount(tx: Tx, postId: string): Promise<void> {
  await tx
    .selectFrom("comment_counts")
    .select("post_id")
    .where("post_id", "=", postId)
    .forNoKeyUpdate()
    .executeTakeFirst();
}

/** @param comments how many fewer there are. The row is locked. */
export async function uncountComments(tx: Tx, postId: string, comments: number): Promise<void> {
  await tx
    .updateTable("comment_counts")
    .set({ comment_count: sql`comment_count - ${comments}` })
    .where("post_id", "=", postId)
    .execute();
}

/** @returns who wrote the comment that is replied to; undefined when it is gone. */
export async function countReply(tx: Tx, parentId: string): Promise<string | undefined> {
  const parent = await tx
    .updateTable("comments")
    .set({ reply_count: sql`reply_count + 1` })
    .where("id", "=", parentId)
    .where("removed_at", "is", null)
    .returning("user_id")
    .executeTakeFirst();
  return parent?.user_id;
}

export async function uncountReply(tx: Tx, parentId: string): Promise<void> {
  await tx.updateTable("comments").set({ reply_count: sql`reply_count - 1` }).where("id", "=", parentId).execute();
}

/** @returns when it was written. Behind the lock of `countComment`, so later ones of that post have later times. */
export async function insertComment(
  tx: Tx,
  comment: Pick<Insertable<CommentsTable>, "id" | "post_id" | "user_id" | "parent_id" | "text" | "entities">,
): Promise<Date> {
  const { rows } = await sql<{ created_at: Date }>`
    INSERT INTO comments (id, post_id, user_id, parent_id, text, entities)
    VALUES (${comment.id}, ${comment.post_id}, ${comment.user_id}, ${comment.parent_id}, ${comment.text},
      ${JSON.stringify(comment.entities)})
    RETURNING created_at`.execute(tx);
  const [row] = rows;
  if (!row) throw new Error(`comment ${comment.id} was not inserted`);
  return row.created_at;
}

/** Where a comment belongs, which never changes. */
export async function placeOf(
  db: Db,
  id: string,
): Promise<Pick<Selectable<CommentsTable>, "post_id" | "parent_id"> | undefined> {
  return db.selectFrom("comments").select(["post_id", "parent_id"]).where("id", "=", id).executeTakeFirst();
}

export type LockedComment = Pick<Selectable<CommentsTable>, "id" | "reply_count" | "removed_at">;

/** Those of these comments that are there, held against every other change until the transaction ends. */
export async function lockComments(tx: Tx, ids: readonly string[]): Promise<LockedComment[]> {
  return tx
    .selectFrom("comments")
    .select(["id", "reply_count", "removed_at"])
    .where("id", "in", ids)
    .orderBy("id")
    .forUpdate()
    .execute();
}

/** Some of the replies to these comments, locked in the same order. */
export async function lockSomeReplies(tx: Tx, parentIds: readonly string[], limit: number): Promise<string[]> {
  const { rows } = await sql<{ id: string }>`
    SELECT id FROM comments
    WHERE id IN (SELECT id FROM comments WHERE parent_id = ANY(${parentIds}::uuid[]) LIMIT ${limit})
    ORDER BY id FOR UPDATE`.execute(tx);
  return rows.map(({ id }) => id);
}

/** Some of a post's comments without the replies, locked in the same order. */
export async function lockSomeOfPost(tx: Tx, postId: string, limit: number): Promise<string[]> {
  const { rows } = await sql<{ id: string }>`
    SELECT id FROM comments
    WHERE id IN (SELECT id FROM comments WHERE post_id = ${postId} AND parent_id IS NULL LIMIT ${limit})
    ORDER BY id FOR UPDATE`.execute(tx);
  return rows.map(({ id }) => id);
}

export async function markRemoved(tx: Tx, id: string): Promise<void> {
  await tx.updateTable("comments").set({ removed_at: sql`coalesce(removed_at, now())` }).where("id", "=", id).execute();
}

/** They are locked, have no replies left, and few likes. */
export async function deleteComments(tx: Tx, ids: readonly string[]): Promise<void> {
  await tx.deleteFrom("comments").where("id", "in", ids).execute();
}

/** @returns how many likes of these comments went, `limit` at most. */
export async function deleteSomeLikes(tx: Tx, ids: readonly string[], limit: number): Promise<number> {
  const { numAffectedRows = 0n } = await sql`
    DELETE FROM comment_likes
    WHERE ctid IN (SELECT ctid FROM comment_likes WHERE comment_id = ANY(${ids}::uuid[]) LIMIT ${limit})`.execute(tx);
  return Number(numAffectedRows);
}

export async function hasComments(db: Db, postId: string): Promise<boolean> {
  const row = await db
    .selectFrom("comments")
    .select("id")
    .where("post_id", "=", postId)
    .where("parent_id", "is", null)
    .limit(1)
    .executeTakeFirst();
  return row !== undefined;
}

export async function deleteCount(tx: Tx, postId: string): Promise<void> {
  await tx.deleteFrom("comment_counts").where("post_id", "=", postId).execute();
}

/** Some comments that are marked, and some posts that are gone: what jobs have left. */
export async function unfinishedRemovals(db: Db, limit: number): Promise<{ comments: string[]; posts: string[] }> {
  const comments = await db
    .selectFrom("comments")
    .select("id")
    .where("removed_at", "is not", null)
    .limit(limit)
    .execute();
  const posts = await db
    .selectFrom("comment_counts")
    .select("post_id")
    .where(sql<boolean>`NOT EXISTS (SELECT FROM posts WHERE posts.id = post_id)`)
    .limit(limit)
    .execute();
  return { comments: comments.map(({ id }) => id), posts: posts.map(({ post_id }) => post_id) };
}

/** Some of what an account has written. */
export async function someWrittenBy(db: Db, userId: string, limit: number): Promise<string[]> {
  const rows = await db.selectFrom("comments").select("id").where("user_id", "=", userId).limit(limit).execute();
  return rows.map(({ id }) => id);
}

/** What was found wrong of a counter. Its row is locked as its writers lock it. */
export async function setCommentCount(tx: Tx, postId: string, comment_count: number): Promise<void> {
  await tx
    .insertInto("comment_counts")
    .values({ post_id: postId, comment_count })
    .onConflict((conflict) => conflict.column("post_id").doUpdateSet({ comment_count }))
    .execute();
}

export async function setReplyCount(tx: Tx, id: string, reply_count: number): Promise<void> {
  await tx.updateTable("comments").set({ reply_count }).where("id", "=", id).execute();
}

export async function setLikeCount(tx: Tx, id: string, like_count: number): Promise<void> {
  await tx.updateTable("comments").set({ like_count }).where("id", "=", id).execute();
}
