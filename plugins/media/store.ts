import { type Generated, type Selectable, sql } from "kysely";
import type { Db, Tx } from "../../src/db/transaction.ts";
import { mayBeSeenBy } from "../graph/index.ts";
import type { RenditionName } from "./decoder/protocol.ts";

export type MediumState = "processing" | "ready" | "failed" | "removed";

export interface MediaTable {
  id: string;
  owner_id: string;
  state: MediumState;
  content_type: string;
  bytes: number;
  sha256: Buffer;
  alt_text: string | null;
  width: number | null;
  height: number | null;
  thumbhash: string | null;
  animated: Generated<boolean>;
  attempts: Generated<number>;
  attempted_at: Date | null;
  failure_code: string | null;
  failure_message: string | null;
  created_at: Generated<Date>;
  finished_at: Date | null;
}

export interface RenditionsTable {
  medium_id: string;
  name: RenditionName;
  width: number;
  height: number;
  bytes: number;
  sha256: Buffer;
}

declare module "../../src/db/schema.ts" {
  interface Schema {
    media: MediaTable;
    renditions: RenditionsTable;
  }
}

export type MediumRow = Selectable<MediaTable>;

export interface Failure {
  code: string;
  message: string;
}

export interface NewMedium {
  id: string;
  owner_id: string;
  content_type: string;
  bytes: number;
  sha256: Buffer;
  alt_text: string | null;
}

export interface ReadyMedium {
  width: number;
  height: number;
  thumbhash: string;
  animated: boolean;
  renditions: Omit<RenditionsTable, "medium_id">[];
}

export async function insertMedium(tx: Tx, medium: NewMedium): Promise<void> {
  await tx
    .insertInto("media")
    .values({ ...medium, state: "processing" })
    .execute();
}

export async function mediumById(db: Db, id: string): Promise<MediumRow | undefined> {
  return db.selectFrom("media").selectAll().where("id", "=", id).executeTakeFirst();
}

/** The medium's state, held until the transaction ends. */
export async function lockMedium(tx: Tx, id: string): Promise<Pick<MediumRow, "state" | "owner_id"> | undefined> {
  return tx.selectFrom("media").select(["state", "owner_id"]).where("id", "=", id).forUpdate().executeTakeFirst();
}

export async function noteAttempt(db: Db, id: string, attempt: number): Promise<void> {
  await db.updateTable("media").set({ attempts: attempt, attempted_at: sql`now()` }).where("id", "=", id).execute();
}

export async function markReady(tx: Tx, id: string, ready: ReadyMedium): Promise<void> {
  const { renditions, ...medium } = ready;
  await tx
    .updateTable("media")
    .set({ ...medium, state: "ready", failure_code: null, failure_message: null, finished_at: sql`now()` })
    .where("id", "=", id)
    .execute();
  await tx
    .insertInto("renditions")
    .values(renditions.map((rendition) => ({ ...rendition, medium_id: id })))
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

export async function markFailed(tx: Tx, id: string, failure: Failure): Promise<void> {
  await tx
    .updateTable("media")
    .set({ state: "failed", failure_code: failure.code, failure_message: failure.message, finished_at: sql`now()` })
    .where("id", "=", id)
    .execute();
}

/** From here on nobody sees the media; their objects and rows are for a job to remove. */
export async function markRemoved(tx: Tx, ids: readonly string[]): Promise<void> {
  await tx.updateTable("media").set({ state: "removed" }).where("id", "in", ids).execute();
}

export async function deleteMedium(db: Db, id: string): Promise<void> {
  await db.deleteFrom("media").where("id", "=", id).where("state", "=", "removed").execute();
}

/**
 * Media that are still to be processed and have no job that would do it: their worker was killed in the last try. A job
 * is enqueued with the row, and ends after its handler has written down how it went, so no other medium is ever so.
 */
export async function abandonedMedia(db: Db): Promise<string[]> {
  const rows = await db
    .selectFrom("media")
    .select("id")
    .where("state", "=", "processing")
    .where(
      sql<boolean>`NOT EXISTS (
        SELECT FROM pgboss.job
        WHERE job.name = 'media.process' AND job.state IN ('created', 'retry', 'active')
          AND job.data->>'medium_id' = media.id::text)`,
    )
    .limit(1000)
    .execute();
  return rows.map((row) => row.id);
}

/** A rendition that whoever holds its URL may have, or undefined: not there, not ready, or its owner is not public. */
export async function publicRendition(
  db: Db,
  mediumId: string,
  name: string,
): Promise<Pick<RenditionsTable, "bytes" | "sha256"> | undefined> {
  return db
    .selectFrom("renditions")
    .innerJoin("media", "media.id", "renditions.medium_id")
    .innerJoin("users", "users.id", "media.owner_id")
    .select(["renditions.bytes", "renditions.sha256"])
    .where("renditions.medium_id", "=", mediumId)
    .where("renditions.name", "=", name as RenditionName)
    .where("media.state", "=", "ready")
    .where(mayBeSeenBy(null))
    .executeTakeFirst();
}
