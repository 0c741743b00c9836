import { type Selectable, sql } from "kysely";
import type { Db, Tx } from "../../src/db/transaction.ts";
import type { CommentsTable } from "./store.ts";

export type LikedComment = Pick<Selectable<CommentsTable>, "id" | "post_id" | "user_id" | "like_count">;

/** Those of these comments that are there, removed ones left out, held against other likes and against removal. */
export async function holdForLikes(tx: Tx, ids: readonly string[]): Promise<LikedComment[]> {
  return tx
    .selectFrom("comments")
    .select(["id", "post_id", "user_id", "like_count"])
    .where("id", "in", ids)
    .where("removed_at", "is", null)
    .orderBy("id")
    .forNoKeyUpdate()
    .execute();
}

/** @returns whether there was none yet. */
export async function insertLike(tx: Tx, userId: string, commentId: string): Promise<boolean> {
  const { numInsertedOrUpdatedRows = 0n } = await tx
    .insertInto("comment_likes")
    .values({ user_id: userId, comment_id: commentId })
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirst();
  return numInsertedOrUpdatedRows > 0n;
}

/** @returns the comments that had a like of this account. */
export async function deleteLikes(tx: Tx, userId: string, commentIds: readonly string[]): Promise<string[]> {
  const rows = await tx
    .deleteFrom("comment_likes")
    .where("user_id", "=", userId)
    .where("comment_id", "in", commentIds)
    .returning("comment_id")
    .execute();
  return rows.map(({ comment_id }) => comment_id);
}

/** To each of these, which are held. */
export async function addToLikeCounts(tx: Tx, ids: readonly string[], by: 1 | -1): Promise<void> {
  await tx
    .updateTable("comments")
    .set({ like_count: sql`like_count + ${by}` })
    .where("id", "in", ids)
    .execute();
}

/** Some of the comments that an account likes. */
export async function someLikedBy(db: Db, userId: string, limit: number): Promise<string[]> {
  const rows = await db
    .selectFrom("comment_likes")
    .select("comment_id")
    .where("user_id", "=", userId)
    .limit(limit)
    .execute();
  return rows.map(({ comment_id }) => comment_id);
}
