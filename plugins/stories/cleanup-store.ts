import { type RawBuilder, sql } from "kysely";
import type { Tx } from "../../src/db/transaction.ts";

/** Milliseconds: how long a story is shown, and how long it then stays. */
export interface Terms {
  lifetime: number;
  grace: number;
}

/**
 * Stories that are nobody's any more, as conditions that an index answers each: published ones that are over and that nobody
 * keeps; what failed, as long after it was uploaded; and removed ones, which wait for nothing.
 */
const DUE = {
  expired: ({ grace }: Terms) =>
    sql`status = 'published' AND NOT kept AND expires_at <= now() - ${grace} * interval '1 millisecond'`,
  failed: ({ lifetime, grace }: Terms) =>
    sql`status = 'failed' AND created_at <= now() - ${lifetime + grace} * interval '1 millisecond'`,
  removed: () => sql`status = 'removed'`,
} as const satisfies Record<string, (terms: Terms) => RawBuilder<unknown>>;

export type Due = keyof typeof DUE;
export const DUE_KINDS = Object.keys(DUE) as Due[];

export interface DueStory {
  id: string;
  /** Null where it was given up with the story's removal. */
  medium_id: string | null;
}

/** Some that are due, which nobody else has in hand, held until the transaction ends. */
export async function takeDue(tx: Tx, kind: Due, terms: Terms, limit: number): Promise<DueStory[]> {
  const { rows } = await sql<DueStory>`
    SELECT id, medium_id FROM stories WHERE ${DUE[kind](terms)}
    LIMIT ${limit} FOR UPDATE SKIP LOCKED`.execute(tx);
  return rows;
}

/** The story of this id if it was removed and nobody else has it in hand, held until the transaction ends. */
export async function takeRemoved(tx: Tx, id: string): Promise<DueStory[]> {
  const { rows } = await sql<DueStory>`
    SELECT id, medium_id FROM stories WHERE id = ${id}::uuid AND status = 'removed'
    FOR UPDATE SKIP LOCKED`.execute(tx);
  return rows;
}

/** From here on they are there for nobody, whatever becomes of the rest. The caller holds them. */
export async function markAllRemoved(tx: Tx, ids: readonly string[]): Promise<void> {
  await tx
    .updateTable("stories")
    .set({ status: "removed", medium_id: null })
    .where("id", "in", ids)
    .where("status", "<>", "removed")
    .execute();
}

/** Deletes views of these stories, `limit` at most. @returns how many. */
export async function deleteViews(tx: Tx, storyIds: readonly string[], limit: number): Promise<number> {
  const { numAffectedRows } = await sql`
    DELETE FROM story_views WHERE (story_id, viewer_id) IN (
      SELECT story_id, viewer_id FROM story_views WHERE story_id = ANY(${storyIds}::uuid[]) LIMIT ${limit})`.execute(
    tx,
  );
  return Number(numAffectedRows ?? 0);
}

/** Deletes those of these stories that have no views left. The caller holds them. @returns how many. */
export async function deleteStories(tx: Tx, ids: readonly string[]): Promise<number> {
  const { numAffectedRows } = await sql`
    DELETE FROM stories WHERE id = ANY(${ids}::uuid[])
      AND NOT EXISTS (SELECT FROM story_views WHERE story_id = stories.id)`.execute(tx);
  return Number(numAffectedRows ?? 0);
}
