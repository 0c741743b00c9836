import { type Generated, type Insertable, type RawBuilder, type Selectable, sql } from "kysely";
import type { Db, Tx } from "../../src/db/transaction.ts";
import { DEAD_LETTERS } from "../../src/jobs/queue.ts";
import { isStoryFor, isStoryShown, mayBeKnownTo, mayBeSeenBy } from "../graph/index.ts";
import type { RenditionName } from "./decoder/protocol.ts";

export type MediumState = "processing" | "ready" | "failed" | "removed";

/** What a medium is for, which decides who may see it. */
export type Purpose = "post" | "avatar" | "story";

export interface MediaTable {
  id: string;
  owner_id: string;
  purpose: Purpose;
  state: MediumState;
  content_type: string;
  bytes: number;
  sha256: Buffer;
  alt_text: string | null;
  width: number | null;
  height: number | null;
  thumbhash: string | null;
  animated: Generated<boolean>;
  /** Tries of all its jobs that have begun; one that was put back and begins again is one. */
  attempts: Generated<number>;
  /** The latest of them. */
  last_try: string | null;
  attempted_at: Date | null;
  /** The worker process that has begun to decode it, until it is said how that ended. */
  in_hand_of: string | null;
  failure_code: string | null;
  failure_message: string | null;
  created_at: Generated<Date>;
  finished_at: Date | null;
  /** The original was given up for its renditions; its object goes by a job, or has gone. */
  original_dropped_at: Generated<Date | null>;
}

export interface RenditionsTable {
  medium_id: string;
  name: RenditionName;
  version: Generated<string>;
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
  purpose: Purpose;
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
  renditions: Omit<Insertable<RenditionsTable>, "medium_id">[];
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

export async function markReady(tx: Tx, id: string, ready: ReadyMedium): Promise<void> {
  const { renditions, ...medium } = ready;
  await tx
    .updateTable("media")
    .set({
      ...medium,
      state: "ready",
      in_hand_of: null,
      failure_code: null,
      failure_message: null,
      finished_at: sql`now()`,
    })
    .where("id", "=", id)
    .execute();
  await tx
    .insertInto("renditions")
    .values(renditions.map((rendition) => ({ ...rendition, medium_id: id })))
    .execute();
}

/** Takes a medium's renditions off its rows. @returns which there were. */
export async function takeRenditions(
  tx: Tx,
  id: string,
): Promise<Pick<Selectable<RenditionsTable>, "name" | "version">[]> {
  return tx.deleteFrom("renditions").where("medium_id", "=", id).returning(["name", "version"]).execute();
}

/** @returns false when the medium goes without its original already. */
export async function dropOriginal(tx: Tx, id: string): Promise<boolean> {
  const result = await tx
    .updateTable("media")
    .set({ original_dropped_at: sql`now()` })
    .where("id", "=", id)
    .where("original_dropped_at", "is", null)
    .executeTakeFirst();
  return result.numUpdatedRows > 0n;
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

/** A page of the media whose objects are kept, by id. */
export async function keptMedia(
  db: Db,
  after: string,
  limit: number,
): Promise<Pick<MediumRow, "id" | "bytes" | "sha256" | "created_at" | "finished_at" | "original_dropped_at">[]> {
  return db
    .selectFrom("media")
    .select(["id", "bytes", "sha256", "created_at", "finished_at", "original_dropped_at"])
    .where("state", "<>", "removed")
    .where("id", ">", after)
    .orderBy("id")
    .limit(limit)
    .execute();
}

export async function renditionsOf(
  db: Db,
  mediumIds: readonly string[],
): Promise<Pick<Selectable<RenditionsTable>, "medium_id" | "name" | "version" | "bytes" | "sha256">[]> {
  if (mediumIds.length === 0) return [];
  return db
    .selectFrom("renditions")
    .select(["medium_id", "name", "version", "bytes", "sha256"])
    .where("medium_id", "in", mediumIds)
    .orderBy("medium_id")
    .execute();
}

export async function deleteMedium(db: Db, id: string): Promise<void> {
  await deleteMedia(db, [id]);
}

/** Of these, the ones that were marked removed. */
export async function deleteMedia(db: Db, ids: readonly string[]): Promise<void> {
  await db.deleteFrom("media").where("id", "in", ids).where("state", "=", "removed").execute();
}

/** @returns ids of an account's media, in any state and for any purpose. */
export async function mediaOfOwner(db: Db, ownerId: string, limit: number): Promise<string[]> {
  const rows = await db.selectFrom("media").select("id").where("owner_id", "=", ownerId).limit(limit).execute();
  return rows.map((row) => row.id);
}

/** The avatar of an account, and the upload that is to be it or has failed, where there are such. */
export async function avatarMedia(
  db: Db,
  ownerId: string,
): Promise<(Pick<MediumRow, "id" | "content_type"> & { is_shown: boolean; original_kept: boolean })[]> {
  return db
    .selectFrom("users")
    .innerJoin("media", (join) =>
      join.on((on) =>
        on.or([on("media.id", "=", on.ref("users.avatar_id")), on("media.id", "=", on.ref("users.avatar_upload_id"))]),
      ),
    )
    .select([
      "media.id",
      "media.content_type",
      sql<boolean>`media.id IS NOT DISTINCT FROM users.avatar_id`.as("is_shown"),
      sql<boolean>`media.original_dropped_at IS NULL`.as("original_kept"),
    ])
    .where("users.id", "=", ownerId)
    .execute();
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

/**
 * Media that are removed and have no job that would take their objects away, as when it failed for good and its dead letter
 * was purged. One that has a dead letter is the operator's.
 */
export async function forgottenRemovals(db: Db, limit: number): Promise<string[]> {
  const rows = await db
    .selectFrom("media")
    .select("id")
    .where("state", "=", "removed")
    .where(
      sql<boolean>`id::text NOT IN (
        SELECT data->>'medium_id' FROM pgboss.job
        WHERE data->>'medium_id' IS NOT NULL
          AND (name = 'media.remove' AND state IN ('created', 'retry', 'active')
            OR name = ${DEAD_LETTERS} AND source_name = 'media.remove' AND state < 'active'))`,
    )
    .limit(limit)
    .execute();
  return rows.map((row) => row.id);
}

/**
 * Takes away the dead letters of processing whose medium has no row any more. There is nothing left to try again, but the
 * last try was killed with a put under way, it may be, that was completed after the removal. @returns the media's ids.
 */
export async function takeOwnerlessLetters(tx: Tx, limit: number): Promise<string[]> {
  const { rows } = await sql<{ medium_id: string }>`
    DELETE FROM pgboss.job WHERE name = ${DEAD_LETTERS} AND id IN (
      SELECT id FROM pgboss.job AS letter
      WHERE name = ${DEAD_LETTERS} AND source_name = 'media.process' AND state < 'active'
        AND NOT EXISTS (SELECT FROM media WHERE media.id = (letter.data->>'medium_id')::uuid)
      LIMIT ${limit})
    RETURNING data->>'medium_id' AS medium_id`.execute(tx);
  return rows.map((row) => row.medium_id);
}

export interface DeliveredRendition {
  version: string;
  bytes: number;
  sha256: Buffer;
  /** Whether whoever holds its URL may have it; else it is for this viewer alone. */
  is_public: boolean;
  /** Seconds until nobody may have it any more, by the database's clock; null for what stays. */
  seconds_left: number | null;
  /** When that was so, by the same clock. */
  asked_at: Date;
}

/**
 * A rendition, if it is there and the viewer may have it now; one query, whichever of the two is why there is no answer.
 * What a public account shows is everybody's. Of another, a post's pictures are for those who see what it shares, and
 * its avatar, as a part of its profile, for those who may know of it. A picture that was replaced as avatar is nobody's.
 * A story's is for those whom the story is for, also of a public account, and until it is over.
 * @param viewerId null for whoever did not say who is looking.
 */
export async function renditionFor(
  db: Db,
  viewerId: string | null,
  mediumId: string,
  name: RenditionName,
): Promise<DeliveredRendition | undefined> {
  return db
    .selectFrom("renditions")
    .innerJoin("media", "media.id", "renditions.medium_id")
    .innerJoin("users", "users.id", "media.owner_id")
    .select([
      "renditions.version",
      "renditions.bytes",
      "renditions.sha256",
      sql<boolean>`NOT users.is_private AND media.purpose <> 'story'`.as("is_public"),
      sql<number | null>`CASE media.purpose WHEN 'story' THEN (
        SELECT CASE WHEN expires_at > now() THEN extract(epoch FROM expires_at - now())::float END
        FROM stories WHERE medium_id = media.id) END`.as("seconds_left"),
      sql<Date>`now()`.as("asked_at"),
    ])
    .where("renditions.medium_id", "=", mediumId)
    .where("renditions.name", "=", name)
    .where("media.state", "=", "ready")
    .where(sql<boolean>`(media.purpose <> 'avatar' OR users.avatar_id = media.id)`)
    .where(viewerId === null ? isForAll() : sql<boolean>`(${isForAll()} OR ${isFor(viewerId)})`)
    .executeTakeFirst();
}

function isForAll(): RawBuilder<boolean> {
  return sql<boolean>`(media.purpose <> 'story' AND ${mayBeSeenBy(null)})`;
}

/** A ticket outlives the right to use it: its viewer may have been suspended or deleted since. */
function isFor(viewerId: string): RawBuilder<boolean> {
  return sql<boolean>`(
    EXISTS (SELECT FROM users AS viewer WHERE viewer.id = ${viewerId}::uuid AND viewer.state = 'active')
    AND CASE media.purpose WHEN 'post' THEN ${mayBeSeenBy(viewerId)} WHEN 'avatar' THEN ${mayBeKnownTo(viewerId)}
      WHEN 'story' THEN EXISTS (
        SELECT FROM stories WHERE medium_id = media.id AND (
          (user_id = ${viewerId}::uuid AND status = 'published' AND kept)
          OR (${isStoryShown()} AND ${isStoryFor(viewerId)}))) END)`;
}
