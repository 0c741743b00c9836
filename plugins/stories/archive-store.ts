import { sql } from "kysely";
import type { Db, Tx } from "../../src/db/transaction.ts";
import type { Position } from "../../src/http/paging.ts";
import { type PublishedRow, shownStory } from "./store.ts";

declare module "../../src/db/schema.ts" {
  interface Schema {
    story_settings: { user_id: string; keep_archive: boolean };
  }
}

export async function keepsArchive(db: Db, userId: string): Promise<boolean> {
  const row = await db
    .selectFrom("story_settings")
    .select("keep_archive")
    .where("user_id", "=", userId)
    .executeTakeFirst();
  return row?.keep_archive ?? false;
}

export async function setKeepsArchive(tx: Tx, userId: string, keep_archive: boolean): Promise<void> {
  await tx
    .insertInto("story_settings")
    .values({ user_id: userId, keep_archive })
    .onConflict((conflict) => conflict.column("user_id").doUpdateSet({ keep_archive }))
    .execute();
}

/** Holds an author's stories that are not over, until the transaction ends. @returns their ids. */
export async function lockCurrent(tx: Tx, userId: string): Promise<string[]> {
  const { rows } = await sql<{ id: string }>`
    SELECT id FROM stories WHERE user_id = ${userId}::uuid AND status = 'published' AND expires_at > now()
    ORDER BY id FOR NO KEY UPDATE`.execute(tx);
  return rows.map(({ id }) => id);
}

/** Whether the author has others than these stories that are not over. */
export async function hasOtherCurrent(tx: Tx, userId: string, ids: readonly string[]): Promise<boolean> {
  const { rows } = await sql`
    SELECT FROM stories WHERE user_id = ${userId}::uuid AND status = 'published' AND expires_at > now()
      AND id <> ALL(${ids}::uuid[]) LIMIT 1`.execute(tx);
  return rows.length > 0;
}

/**
 * Keeps an author's stories that are not over, or leaves those alone that were never put into a highlight. The caller holds
 * them. Not those that were over while it waited for that: they are gone for their author too, or kept.
 */
export async function setCurrentKept(tx: Tx, userId: string, kept: boolean): Promise<void> {
  await sql`
    UPDATE stories SET kept = ${kept}
    WHERE user_id = ${userId}::uuid AND status = 'published' AND kept <> ${kept}
      AND expires_at > now() AND expires_at > clock_timestamp()
      AND NOT highlighted`.execute(tx);
}

/** One page of an author's own stories that are kept and over, the latest published first. */
export async function listArchive(
  db: Db,
  userId: string,
  { limit, after }: { limit: number; after: Position | null },
): Promise<PublishedRow[]> {
  const { rows } = await sql<PublishedRow>`
    SELECT ${shownStory(userId)}
    FROM stories JOIN users ON users.id = stories.user_id JOIN media ON media.id = stories.medium_id
    WHERE stories.user_id = ${userId}::uuid AND stories.kept AND stories.status = 'published'
      AND stories.expires_at <= now()
      ${after ? sql`AND (stories.published_at, stories.id) < (${after.at}, ${after.id}::uuid)` : sql``}
    ORDER BY stories.published_at DESC, stories.id DESC LIMIT ${limit}`.execute(db);
  return rows;
}
