import { type Generated, type Selectable, sql } from "kysely";
import type { Db, Tx } from "../../src/db/transaction.ts";

export interface ExportsTable {
  user_id: string;
  id: string;
  status: "processing" | "ready" | "failed";
  token: string;
  bytes: number | null;
  created_at: Generated<Date>;
  finished_at: Date | null;
  expires_at: Date | null;
}

declare module "../../src/db/schema.ts" {
  interface Schema {
    exports: ExportsTable;
  }
}

export type ExportRow = Selectable<ExportsTable>;

/** Its time is over, or it was withdrawn. By the database's clock, as all times of an export. */
const EXPIRED = sql<boolean>`(expires_at IS NOT NULL AND expires_at <= clock_timestamp())`;

/** Finished within the last hour. */
const FRESH = sql<boolean>`(status = 'ready' AND finished_at > clock_timestamp() - interval '1 hour')`;

/** There is a job that makes it, or would. */
const HAS_JOB = sql<boolean>`EXISTS (
  SELECT FROM pgboss.job
  WHERE job.name = 'exports.make' AND job.state IN ('created', 'retry', 'active')
    AND job.data->>'export_id' = exports.id::text)`;

/** An account's export, whether its time is over, and whether it is ready and of the last hour. */
export async function exportOf(
  db: Db,
  userId: string,
): Promise<(ExportRow & { expired: boolean; fresh: boolean }) | undefined> {
  return db
    .selectFrom("exports")
    .selectAll()
    .select([EXPIRED.as("expired"), sql<boolean>`(${FRESH} AND NOT ${EXPIRED})`.as("fresh")])
    .where("user_id", "=", userId)
    .executeTakeFirst();
}

/**
 * Begins an export in place of the one that the caller has seen, null for none.
 * @returns false when there is another one meanwhile.
 */
export async function replaceExport(
  tx: Tx,
  next: { user_id: string; id: string; token: string },
  seenId: string | null,
): Promise<boolean> {
  const row = await tx
    .insertInto("exports")
    .values({ ...next, status: "processing" })
    .onConflict((conflict) =>
      conflict
        .column("user_id")
        .doUpdateSet({
          id: next.id,
          token: next.token,
          status: "processing",
          bytes: null,
          created_at: sql`now()`,
          finished_at: null,
          expires_at: null,
        })
        .where("exports.id", "=", seenId)
        .where("exports.status", "<>", "processing"),
    )
    .returning("id")
    .executeTakeFirst();
  return row !== undefined;
}

/**
 * Ends an export's time, and its making: what is withdrawn is failed or ready, and expired.
 * @returns whether there was one.
 */
export async function withdraw(tx: Tx, userId: string): Promise<boolean> {
  const result = await tx
    .updateTable("exports")
    .set({
      status: sql`CASE status WHEN 'processing' THEN 'failed' ELSE status END`,
      // The column rounds to milliseconds, and must not round up: it is over now.
      expires_at: sql`date_trunc('milliseconds', clock_timestamp())`,
    })
    .where("user_id", "=", userId)
    .executeTakeFirst();
  return result.numUpdatedRows === 1n;
}

export async function replaceToken(tx: Tx, userId: string, token: string): Promise<void> {
  await tx.updateTable("exports").set({ token }).where("user_id", "=", userId).execute();
}

export interface Owner {
  id: string;
  username: string;
}

/** Whose export it is, for as long as it is to be made. */
export async function ownerOfUnfinished(db: Db, id: string): Promise<Owner | undefined> {
  return db
    .selectFrom("exports")
    .innerJoin("users", "users.id", "exports.user_id")
    .select(["users.id", "users.username"])
    .where("exports.id", "=", id)
    .where("exports.status", "=", "processing")
    .executeTakeFirst();
}

export async function isReady(db: Db, id: string): Promise<boolean> {
  const row = await db
    .selectFrom("exports")
    .select("id")
    .where("id", "=", id)
    .where("status", "=", "ready")
    .executeTakeFirst();
  return row !== undefined;
}

/** @returns false when it is wanted no more. */
export async function markReady(
  db: Db,
  id: string,
  { bytes, lifetime }: { bytes: number; lifetime: number },
): Promise<boolean> {
  const result = await db
    .updateTable("exports")
    .set({
      status: "ready",
      bytes,
      finished_at: sql`clock_timestamp()`,
      expires_at: sql`clock_timestamp() + ${lifetime} * interval '1 millisecond'`,
    })
    .where("id", "=", id)
    .where("status", "=", "processing")
    .executeTakeFirst();
  return result.numUpdatedRows === 1n;
}

export async function markFailed(db: Db, id: string): Promise<void> {
  await db
    .updateTable("exports")
    .set({ status: "failed", finished_at: sql`clock_timestamp()` })
    .where("id", "=", id)
    .where("status", "=", "processing")
    .execute();
}

export async function deleteExport(db: Db, id: string): Promise<void> {
  await db.deleteFrom("exports").where("id", "=", id).where("status", "<>", "processing").execute();
}

/** Without those whose job is still there: until it has noticed, it may put the object into the store once more. */
export async function expiredExports(db: Db, limit: number): Promise<string[]> {
  const rows = await db
    .selectFrom("exports")
    .select("id")
    .where(EXPIRED)
    .where(sql<boolean>`NOT ${HAS_JOB}`)
    .limit(limit)
    .execute();
  return rows.map((row) => row.id);
}

/** Of these, the ones that are to be made. */
export async function unfinishedAmong(db: Db, ids: readonly string[]): Promise<Set<string>> {
  if (ids.length === 0) return new Set();
  const rows = await db
    .selectFrom("exports")
    .select("id")
    .where("id", "in", ids)
    .where("status", "=", "processing")
    .execute();
  return new Set(rows.map((row) => row.id));
}

/** Exports that are to be made and have no job that would do it: their worker was killed in the last try. */
export async function abandonedExports(db: Db, limit: number): Promise<string[]> {
  const rows = await db
    .selectFrom("exports")
    .select("id")
    .where("status", "=", "processing")
    .where(sql<boolean>`NOT ${HAS_JOB}`)
    .limit(limit)
    .execute();
  return rows.map((row) => row.id);
}

/** A file that may be fetched: it is there, its time is not over, and its owner is there. */
export async function downloadable(
  db: Db,
  id: string,
): Promise<{ token: string; bytes: number; finished_at: Date; username: string } | undefined> {
  const row = await db
    .selectFrom("exports")
    .innerJoin("users", "users.id", "exports.user_id")
    .select(["exports.token", "exports.bytes", "exports.finished_at", "users.username"])
    .where("exports.id", "=", id)
    .where("exports.status", "=", "ready")
    .where(sql<boolean>`exports.expires_at > clock_timestamp()`)
    .where("users.state", "=", "active")
    .executeTakeFirst();
  if (!row || row.bytes === null || row.finished_at === null) return undefined;
  return { ...row, bytes: row.bytes, finished_at: row.finished_at };
}
