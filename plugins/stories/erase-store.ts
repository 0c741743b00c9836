import { type Selectable, sql } from "kysely";
import type { Db, Tx } from "../../src/db/transaction.ts";
import type { StoriesTable } from "./store.ts";

/** What an account keeps, as a whole: for when it goes. */

/** Some of an author's stories in any state, held against every other change until the transaction ends. */
export async function lockSomeStories(
  tx: Tx,
  userId: string,
  limit: number,
): Promise<Pick<Selectable<StoriesTable>, "id" | "status">[]> {
  return tx
    .selectFrom("stories")
    .select(["id", "status"])
    .where("user_id", "=", userId)
    .orderBy("id")
    .limit(limit)
    .forUpdate()
    .execute();
}

/** Deletes some of the account's highlights. Their stories stay. @returns how many. */
export async function deleteSomeHighlights(db: Db, userId: string, limit: number): Promise<number> {
  const { numAffectedRows } = await sql`
    DELETE FROM highlights WHERE id IN (
      SELECT id FROM highlights WHERE user_id = ${userId}::uuid LIMIT ${limit})`.execute(db);
  return Number(numAffectedRows ?? 0n);
}

export async function deletePreferences(db: Db, userId: string): Promise<void> {
  await db.deleteFrom("story_settings").where("user_id", "=", userId).execute();
}

/** @returns ids of stories that the account has seen. */
export async function someSeenBy(db: Db, viewerId: string, limit: number): Promise<string[]> {
  const { rows } = await sql<{ story_id: string }>`
    SELECT story_id FROM story_views WHERE viewer_id = ${viewerId}::uuid ORDER BY story_id LIMIT ${limit}`.execute(db);
  return rows.map(({ story_id }) => story_id);
}

/** Holds these stories, until the transaction ends. */
export async function lockStories(tx: Tx, ids: readonly string[]): Promise<void> {
  await sql`SELECT FROM stories WHERE id = ANY(${ids}::uuid[]) ORDER BY id FOR NO KEY UPDATE`.execute(tx);
}

/** Takes a viewer's views of these stories back, and counts them no more. The caller holds the stories. */
export async function deleteViewsBy(tx: Tx, viewerId: string, storyIds: readonly string[]): Promise<void> {
  await sql`
    WITH gone AS (
      DELETE FROM story_views WHERE viewer_id = ${viewerId}::uuid AND story_id = ANY(${storyIds}::uuid[])
      RETURNING story_id
    )
    UPDATE stories SET view_count = view_count - 1 FROM gone WHERE id = gone.story_id`.execute(tx);
}
