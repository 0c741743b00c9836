import { type RawBuilder, sql } from "kysely";
import type { Db, Tx } from "../../src/db/transaction.ts";

/** Milliseconds: how long a story is shown, and how long it then stays. */
export interface Terms {
  lifetime: number;
  grace: number;
}

/**
 * Stories that are nobody's any more, each kind by an index in the order of `at`: published ones that are over and that nobody
 * keeps; what failed, as long after it failed; and what is left of removed ones, which waits for nothing.
 */
const DUE = {
  expired: { at: "expires_at", are: sql`status = 'published' AND NOT kept` },
  failed: { at: "failed_at", are: sql`status = 'failed'` },
  removed: { at: "created_at", are: sql`status = 'removed'` },
} as const satisfies Record<string, { at: string; are: RawBuilder<unknown> }>;

export type Due = keyof typeof DUE;
/** In this order: what one kind leaves unfinished is of the last. */
export const DUE_KINDS = Object.keys(DUE) as Due[];

/** Up to which time, `at` of each kind, they are due. */
export type Moments = Record<Due, Date>;

export interface DueStory {
  id: string;
  at: Date;
  /** Null where it was given up with the story's removal. */
  medium_id: string | null;
}

/** Where a walk over one kind stands: at the last story that it came by. */
export type Place = Pick<DueStory, "id" | "at">;

/**
 * What is due now, by the database's clock. It is read once: what becomes due while a cleanup runs is the next one's, so that
 * it ends. Cut to milliseconds, never rounded up: nothing goes early.
 */
export async function dueMoments(db: Db, { lifetime, grace }: Terms): Promise<Moments> {
  const ago = (milliseconds: number) =>
    sql`date_trunc('milliseconds', now() - ${milliseconds} * interval '1 millisecond')`;
  const { rows } = await sql<Moments>`
    SELECT ${ago(grace)} AS expired, ${ago(lifetime + grace)} AS failed, ${ago(0)} AS removed`.execute(db);
  if (!rows[0]) throw new Error("Postgres gave no answer");
  return rows[0];
}

interface Page {
  moments: Moments;
  after: Place | null;
  limit: number;
}

/** The next that are due. */
export async function someDue(db: Db, kind: Due, page: Page): Promise<DueStory[]> {
  const { rows } = await nextDue(kind, page, sql``).execute(db);
  return rows;
}

/**
 * The next that are due and that nobody else has in hand, held until the transaction ends. One that was changed meanwhile is
 * judged by what it is now: Postgres looks at the conditions again when it has the lock.
 */
export async function takeDue(tx: Tx, kind: Due, page: Page): Promise<DueStory[]> {
  const { rows } = await nextDue(kind, page, sql`FOR UPDATE SKIP LOCKED`).execute(tx);
  return rows;
}

function nextDue(kind: Due, { moments, after, limit }: Page, locking: RawBuilder<unknown>) {
  const at = sql.ref(DUE[kind].at);
  const rest = after ? sql`AND (${at}, id) > (${after.at}, ${after.id}::uuid)` : sql``;
  return sql<DueStory>`
    SELECT id, ${at} AS at, medium_id FROM stories WHERE ${DUE[kind].are} AND ${at} <= ${moments[kind]} ${rest}
    ORDER BY ${at}, id LIMIT ${limit} ${locking}`;
}

/** How many are due, `most` at most. @param upTo where the count ends; null counts all. */
export async function countDue(
  db: Db,
  kind: Due,
  { moments, upTo, most }: { moments: Moments; upTo: Place | null; most: number },
): Promise<number> {
  const at = sql.ref(DUE[kind].at);
  const bound = upTo ? sql`AND (${at}, id) <= (${upTo.at}, ${upTo.id}::uuid)` : sql``;
  const { rows } = await sql<{ count: number }>`
    SELECT count(*)::int AS count FROM (
      SELECT FROM stories WHERE ${DUE[kind].are} AND ${at} <= ${moments[kind]} ${bound} LIMIT ${most}) AS due`.execute(
    db,
  );
  return rows[0]?.count ?? 0;
}

/** Those of these stories that are removed and that nobody else has in hand, held until the transaction ends. */
export async function takeRemoved(tx: Tx, ids: readonly string[]): Promise<Pick<DueStory, "id" | "medium_id">[]> {
  const { rows } = await sql<Pick<DueStory, "id" | "medium_id">>`
    SELECT id, medium_id FROM stories WHERE id = ANY(${ids}::uuid[]) AND status = 'removed'
    ORDER BY id FOR UPDATE SKIP LOCKED`.execute(tx);
  return rows;
}

/** From here on they are there for nobody, whatever becomes of the rest. The caller holds them. */
export async function markAllRemoved(tx: Tx, ids: readonly string[]): Promise<void> {
  await sql`
    UPDATE stories SET status = 'removed', medium_id = NULL
    WHERE id = ANY(${ids}::uuid[]) AND status <> 'removed'`.execute(tx);
}

/** Deletes views of these stories, `limit` at most. One that another transaction changes meanwhile stays, for the next time. */
export async function deleteViews(tx: Tx, storyIds: readonly string[], limit: number): Promise<void> {
  await sql`
    DELETE FROM story_views
    WHERE ctid IN (SELECT ctid FROM story_views WHERE story_id = ANY(${storyIds}::uuid[]) LIMIT ${limit})`.execute(tx);
}

/** Deletes those of these stories that have no views left. The caller holds them. @returns how many. */
export async function deleteStories(tx: Tx, ids: readonly string[]): Promise<number> {
  const { numAffectedRows = 0n } = await sql`
    DELETE FROM stories WHERE id = ANY(${ids}::uuid[])
      AND NOT EXISTS (SELECT FROM story_views WHERE story_id = stories.id)`.execute(tx);
  return Number(numAffectedRows);
}
