import { randomUUID } from "node:crypto";
import { type Generated, type Selectable, sql } from "kysely";
import type { Db, Tx } from "../../src/db/transaction.ts";

export interface DecodeCrashesTable {
  sha256: Buffer;
  crashes: Generated<number>;
  losses: Generated<number>;
  reason: string;
  last_at: Generated<Date>;
  quarantined: Generated<boolean>;
}

declare module "../../src/db/schema.ts" {
  interface Schema {
    decode_crashes: DecodeCrashesTable;
  }
}

/** What is known of a content that was hard on a decoder. */
export type Suspicion = Pick<Selectable<DecodeCrashesTable>, "quarantined" | "reason">;

/** undefined for a content of which nothing bad is known: nearly all. */
export async function suspicionOf(db: Db, sha256: Buffer): Promise<Suspicion | undefined> {
  return db
    .selectFrom("decode_crashes")
    .select(["quarantined", "reason"])
    .where("sha256", "=", sha256)
    .executeTakeFirst();
}

/** Of these contents, those in quarantine. */
export async function quarantinedOf(db: Db, hashes: readonly Buffer[]): Promise<Buffer[]> {
  const rows = await db
    .selectFrom("decode_crashes")
    .select("sha256")
    .where("sha256", "in", hashes)
    .where("quarantined", "=", true)
    .execute();
  return rows.map((row) => row.sha256);
}

/** This process, as others know it by what it had in hand. */
const WORKER = randomUUID();

/** Counts a try that begins; once, however often it is put back. @param tried as `tryOf` names it. */
export async function noteTry(db: Db, mediumId: string, tried: string): Promise<void> {
  await sql`
    UPDATE media SET attempts = attempts + (last_try IS DISTINCT FROM ${tried})::int, last_try = ${tried},
      attempted_at = now()
    WHERE id = ${mediumId}`.execute(db);
}

/**
 * Notes that the medium is in this worker's hand from now on.
 * @returns whether its content has come into quarantine meanwhile: then it is not in hand, and must not be decoded.
 */
export async function takeInHand(db: Db, mediumId: string): Promise<{ quarantined: boolean }> {
  const { rows } = await sql<{ quarantined: boolean }>`
    UPDATE media SET in_hand_of = CASE WHEN EXISTS (
      SELECT FROM decode_crashes WHERE decode_crashes.sha256 = media.sha256 AND quarantined
    ) THEN NULL ELSE ${WORKER}::uuid END
    WHERE id = ${mediumId} RETURNING in_hand_of IS NULL AS quarantined`.execute(db);
  return { quarantined: rows[0]?.quarantined === true };
}

/** Of a try that ended without renditions. */
export async function putOutOfHand(db: Db, mediumId: string): Promise<void> {
  await db.updateTable("media").set({ in_hand_of: null }).where("id", "=", mediumId).execute();
}

/** Counts a decoder that the content cost. @returns whether it is in quarantine now. */
export async function countCrash(db: Db, sha256: Buffer, reason: string): Promise<Suspicion> {
  const { rows } = await sql<Suspicion>`
    INSERT INTO decode_crashes AS known (sha256, crashes, reason) VALUES (${sha256}, 1, ${reason})
    ON CONFLICT (sha256) DO UPDATE
      SET crashes = known.crashes + 1, reason = excluded.reason, last_at = clock_timestamp()
    RETURNING quarantined, reason`.execute(db);
  return rows[0] ?? { quarantined: false, reason };
}

/**
 * The worker that had the medium in hand is gone: counts that against the content, once for all media of that content
 * that this worker had.
 * @returns undefined when it was in nobody's hand, or has been counted.
 */
export async function countLoss(db: Db, mediumId: string): Promise<Suspicion | undefined> {
  const { rows } = await sql<Suspicion>`
    WITH lost AS (
      SELECT sha256, in_hand_of FROM media WHERE id = ${mediumId} AND in_hand_of IS NOT NULL
    ), locked AS (
      SELECT media.id FROM media JOIN lost USING (in_hand_of, sha256) ORDER BY media.id FOR UPDATE OF media
    ), counted AS (
      UPDATE media SET in_hand_of = NULL FROM locked WHERE media.id = locked.id RETURNING media.id, sha256
    )
    INSERT INTO decode_crashes AS known (sha256, losses, reason)
      SELECT sha256, 1, 'its worker was killed' FROM counted WHERE id = ${mediumId}
    ON CONFLICT (sha256) DO UPDATE
      SET losses = known.losses + 1, reason = excluded.reason, last_at = clock_timestamp()
    RETURNING quarantined, reason`.execute(db);
  return rows[0];
}

/** A content that took so long that it was set aside, which is no crash: it is only decoded apart from others. */
export async function noteSlow(db: Db, sha256: Buffer): Promise<void> {
  await sql`
    INSERT INTO decode_crashes (sha256, reason) VALUES (${sha256}, 'slower than others that wait for it')
    ON CONFLICT (sha256) DO UPDATE SET last_at = clock_timestamp()`.execute(db);
}

/** The content was decoded, so whatever it cost is no fault of its. */
export async function clearCrashes(tx: Tx, mediumId: string): Promise<void> {
  await sql`DELETE FROM decode_crashes WHERE sha256 = (SELECT sha256 FROM media WHERE id = ${mediumId})`.execute(tx);
}

/** Days after which a content that is not in quarantine is forgotten. */
const KEPT_DAYS = 30;

export async function sweepCrashes(db: Db): Promise<number> {
  const { rows } = await sql`
    DELETE FROM decode_crashes
    WHERE NOT quarantined AND last_at < clock_timestamp() - ${KEPT_DAYS} * interval '1 day' RETURNING 1`.execute(db);
  return rows.length;
}

/** A content as operators see it. */
export interface KnownContent {
  /** Lower-case hex. */
  sha256: string;
  quarantined: boolean;
  crashes: number;
  losses: number;
  reason: string;
  last_at: Date;
  /** How many media have it, of how many accounts. */
  media: number;
  owners: number;
}

/** Latest first. @param which one content; those in quarantine; or all of which something bad is known. */
export async function knownContents(db: Db, which: Buffer | "quarantined" | "all"): Promise<KnownContent[]> {
  const condition = Buffer.isBuffer(which)
    ? sql`known.sha256 = ${which}`
    : which === "all"
      ? sql`true`
      : sql`known.quarantined`;
  const { rows } = await sql<KnownContent>`
    SELECT encode(known.sha256, 'hex') AS sha256, quarantined, crashes, losses, reason, last_at,
      count(media.id)::int AS media, count(DISTINCT media.owner_id)::int AS owners
    FROM decode_crashes AS known LEFT JOIN media ON media.sha256 = known.sha256 AND media.state <> 'removed'
    WHERE ${condition}
    GROUP BY known.sha256 ORDER BY last_at DESC, known.sha256 LIMIT 10000`.execute(db);
  return rows;
}

/** Lets a content be decoded again. @returns false when nothing bad is known of it. */
export async function releaseContent(db: Db, sha256: Buffer): Promise<boolean> {
  const deleted = await db.deleteFrom("decode_crashes").where("sha256", "=", sha256).executeTakeFirst();
  return deleted.numDeletedRows > 0n;
}
