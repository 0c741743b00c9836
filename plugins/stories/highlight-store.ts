import { type Generated, type RawBuilder, sql } from "kysely";
import type { Db, Tx } from "../../src/db/transaction.ts";
import type { Position } from "../../src/http/paging.ts";
import { isStoryFor } from "../graph/index.ts";
import { type PublishedRow, shownStory } from "./store.ts";

export interface HighlightsTable {
  id: string;
  user_id: string;
  title: string;
  created_at: Generated<Date>;
}

declare module "../../src/db/schema.ts" {
  interface Schema {
    highlights: HighlightsTable;
    highlight_stories: { highlight_id: string; story_id: string; added_at: Generated<Date> };
  }
}

/** A highlight, with what of its stories is for a viewer. */
export interface HighlightRow {
  id: string;
  title: string;
  created_at: Date;
  story_count: number;
  /** The medium of the latest of them; null where there are none. */
  cover_id: string | null;
}

/**
 * The highlights that are there for the viewer: one's own, and others' in which is a story for the viewer. To be continued by
 * `AND`. Stories come in two audiences, so who sees them is asked twice a highlight, and not once a story.
 */
function shownHighlights(viewerId: string): RawBuilder<unknown> {
  return sql`
    SELECT highlights.id, highlights.title, highlights.created_at, shown.story_count, shown.cover_id
    FROM highlights JOIN users ON users.id = highlights.user_id CROSS JOIN LATERAL (
      SELECT coalesce(sum(stories.count), 0)::int AS story_count,
        (array_agg(stories.medium_id ORDER BY stories.published_at DESC))[1] AS cover_id
      FROM (
        SELECT audience, count(*), max(published_at) AS published_at,
          (array_agg(medium_id ORDER BY published_at DESC, id DESC))[1] AS medium_id
        FROM highlight_stories JOIN stories ON stories.id = story_id
        WHERE highlight_id = highlights.id AND status = 'published' GROUP BY audience
      ) AS stories
      WHERE ${isStoryFor(viewerId)}
    ) AS shown
    WHERE (highlights.user_id = ${viewerId}::uuid OR shown.story_count > 0)`;
}

export async function findHighlight(db: Db, viewerId: string, id: string): Promise<HighlightRow | undefined> {
  const { rows } = await sql<HighlightRow>`
    ${shownHighlights(viewerId)} AND highlights.id = ${id}::uuid`.execute(db);
  return rows[0];
}

/** One page of an author's highlights that are there for the viewer, the latest made first. An account has few. */
export async function listHighlights(
  db: Db,
  viewerId: string,
  { authorId, limit, after }: { authorId: string; limit: number; after: Position | null },
): Promise<HighlightRow[]> {
  const { rows } = await sql<HighlightRow>`
    ${shownHighlights(viewerId)} AND highlights.user_id = ${authorId}::uuid
      ${after ? sql`AND (highlights.created_at, highlights.id) < (${after.at}, ${after.id}::uuid)` : sql``}
    ORDER BY highlights.created_at DESC, highlights.id DESC LIMIT ${limit}`.execute(db);
  return rows;
}

/** One page of the stories in a highlight that are for the viewer, over or not, in the order of their publication. */
export async function listHighlightStories(
  db: Db,
  viewerId: string,
  { highlightId, limit, after }: { highlightId: string; limit: number; after: Position | null },
): Promise<PublishedRow[]> {
  const { rows } = await sql<PublishedRow>`
    SELECT ${shownStory(viewerId)}
    FROM highlight_stories JOIN stories ON stories.id = highlight_stories.story_id
      JOIN users ON users.id = stories.user_id JOIN media ON media.id = stories.medium_id
    WHERE highlight_stories.highlight_id = ${highlightId}::uuid AND stories.status = 'published'
      AND ${isStoryFor(viewerId)}
      ${after ? sql`AND (stories.published_at, stories.id) > (${after.at}, ${after.id}::uuid)` : sql``}
    ORDER BY stories.published_at, stories.id LIMIT ${limit}`.execute(db);
  return rows;
}

export async function countHighlights(tx: Tx, userId: string): Promise<number> {
  const { count } = await tx
    .selectFrom("highlights")
    .select(sql<number>`count(*)::int`.as("count"))
    .where("user_id", "=", userId)
    .executeTakeFirstOrThrow();
  return count;
}

export async function insertHighlight(
  tx: Tx,
  highlight: Pick<HighlightsTable, "id" | "user_id" | "title">,
): Promise<void> {
  await tx.insertInto("highlights").values(highlight).execute();
}

export async function isHighlightOf(db: Db, userId: string, id: string): Promise<boolean> {
  const row = await db
    .selectFrom("highlights")
    .select("id")
    .where("id", "=", id)
    .where("user_id", "=", userId)
    .executeTakeFirst();
  return row !== undefined;
}

/** Whether the highlight is there and the user's; it is held until the transaction ends. */
export async function lockHighlight(tx: Tx, userId: string, id: string): Promise<boolean> {
  const row = await tx
    .selectFrom("highlights")
    .select("id")
    .where("id", "=", id)
    .where("user_id", "=", userId)
    .forNoKeyUpdate()
    .executeTakeFirst();
  return row !== undefined;
}

/** @returns whether there is one of that user. */
export async function setTitle(db: Db, userId: string, id: string, title: string): Promise<boolean> {
  const { numUpdatedRows } = await db
    .updateTable("highlights")
    .set({ title })
    .where("id", "=", id)
    .where("user_id", "=", userId)
    .executeTakeFirst();
  return numUpdatedRows > 0n;
}

/** @returns whether there was one of that user. */
export async function deleteHighlight(db: Db, userId: string, id: string): Promise<boolean> {
  const { numDeletedRows } = await db
    .deleteFrom("highlights")
    .where("id", "=", id)
    .where("user_id", "=", userId)
    .executeTakeFirst();
  return numDeletedRows > 0n;
}

/** Holds those of these stories that are the user's, until the transaction ends. */
export async function lockOwnStories(tx: Tx, userId: string, ids: readonly string[]): Promise<void> {
  await sql`
    SELECT FROM stories WHERE id = ANY(${ids}::uuid[]) AND user_id = ${userId}::uuid
    ORDER BY id FOR NO KEY UPDATE`.execute(tx);
}

/**
 * Keeps those of these stories that are the user's, published, and not over, or kept already, for a highlight. The caller holds
 * them; what was over and not kept when that began is gone.
 * @returns their ids.
 */
export async function keepStories(tx: Tx, userId: string, ids: readonly string[]): Promise<string[]> {
  const { rows } = await sql<{ id: string }>`
    UPDATE stories SET kept = true, highlighted = true
    WHERE id = ANY(${ids}::uuid[]) AND user_id = ${userId}::uuid AND status = 'published'
      AND (kept OR expires_at > clock_timestamp())
    RETURNING id`.execute(tx);
  return rows.map(({ id }) => id);
}

/** Puts stories into a highlight, those that are not in it. The caller holds it and them. */
export async function insertIntoHighlight(tx: Tx, highlightId: string, storyIds: readonly string[]): Promise<void> {
  if (storyIds.length === 0) return;
  await tx
    .insertInto("highlight_stories")
    .values(storyIds.map((story_id) => ({ highlight_id: highlightId, story_id })))
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

/** Those that are being removed are not counted. */
export async function countHighlightStories(tx: Tx, highlightId: string): Promise<number> {
  const { count } = await tx
    .selectFrom("highlight_stories")
    .innerJoin("stories", "stories.id", "highlight_stories.story_id")
    .select(sql<number>`count(*)::int`.as("count"))
    .where("highlight_id", "=", highlightId)
    .where("status", "=", "published")
    .executeTakeFirstOrThrow();
  return count;
}

/** Takes a story out of a highlight, where it is in it. @returns whether there is such a highlight of that user. */
export async function deleteFromHighlight(
  db: Db,
  userId: string,
  { highlightId, storyId }: { highlightId: string; storyId: string },
): Promise<boolean> {
  const { rows } = await sql`
    WITH own AS (SELECT id FROM highlights WHERE id = ${highlightId}::uuid AND user_id = ${userId}::uuid),
    gone AS (
      DELETE FROM highlight_stories USING own WHERE highlight_id = own.id AND story_id = ${storyId}::uuid
    )
    SELECT id FROM own`.execute(db);
  return rows.length > 0;
}
