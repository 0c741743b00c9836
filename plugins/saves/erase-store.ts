import { type Selectable, sql } from "kysely";
import type { Db } from "../../src/db/transaction.ts";
import type { CollectionsTable } from "./store.ts";

/** What an account keeps, as a whole: for whoever takes it along or goes. */

/** Removes some saves of an account, and what is in collections by them. @returns how many. */
export async function deleteSomeSaves(db: Db, userId: string, limit: number): Promise<number> {
  const { numAffectedRows } = await sql`
    DELETE FROM saves WHERE user_id = ${userId}::uuid AND post_id IN (
      SELECT post_id FROM saves WHERE user_id = ${userId}::uuid ORDER BY post_id LIMIT ${limit})`.execute(db);
  return Number(numAffectedRows ?? 0n);
}

/** Of an account whose saves are gone. They are few. */
export async function deleteCollectionsOf(db: Db, userId: string): Promise<void> {
  await db.deleteFrom("collections").where("user_id", "=", userId).execute();
}

export interface KeptSave {
  post_id: string;
  saved_at: Date;
  /** Names of those that it is in. */
  collections: string[];
}

/** A page of what an account has saved, by post. */
export async function savesOf(
  db: Db,
  userId: string,
  { limit, after }: { limit: number; after: string },
): Promise<KeptSave[]> {
  const { rows } = await sql<KeptSave>`
    SELECT saves.post_id, saves.created_at AS saved_at,
      (SELECT coalesce(json_agg(collections.name ORDER BY collections.folded), '[]')
       FROM collection_posts JOIN collections ON collections.id = collection_posts.collection_id
       WHERE collection_posts.user_id = saves.user_id AND collection_posts.post_id = saves.post_id) AS collections
    FROM saves WHERE saves.user_id = ${userId}::uuid AND saves.post_id > ${after}::uuid
    ORDER BY saves.post_id LIMIT ${limit}`.execute(db);
  return rows;
}

/** All collections of an account, empty ones included. */
export async function collectionsOf(
  db: Db,
  userId: string,
): Promise<Pick<Selectable<CollectionsTable>, "name" | "created_at">[]> {
  return db
    .selectFrom("collections")
    .select(["name", "created_at"])
    .where("user_id", "=", userId)
    .orderBy("folded")
    .execute();
}
