import { sql } from "kysely";
import type { Config } from "../../src/config/schema.ts";
import type { Db, Tx } from "../../src/db/transaction.ts";
import { quotaExceeded } from "./errors.ts";

declare module "../../src/db/schema.ts" {
  interface Schema {
    media_quotas: { user_id: string; bytes: number | null };
  }
}

/** What an account has uploaded and not deleted, and how much that may be. */
export interface Quota {
  used_bytes: number;
  /** Null for as much as it likes. */
  quota_bytes: number | null;
}

export async function quotaOf(
  db: Db,
  config: Pick<Config, "media">,
  ownerId: string,
): Promise<Quota & { own: boolean }> {
  const { bytes, own } = await quotaBytes(db, config, ownerId);
  return { used_bytes: await usedBytes(db, ownerId), quota_bytes: bytes, own };
}

/** @param bytes null for as much as it likes; "default" for what the configuration says. */
export async function setQuota(db: Db, ownerId: string, bytes: number | null | "default"): Promise<void> {
  if (bytes === "default") {
    await db.deleteFrom("media_quotas").where("user_id", "=", ownerId).execute();
    return;
  }
  await db
    .insertInto("media_quotas")
    .values({ user_id: ownerId, bytes })
    .onConflict((conflict) => conflict.column("user_id").doUpdateSet({ bytes }))
    .execute();
}

/**
 * Whether the account may keep so many bytes more. Its uploads come one after the other from here on, until the transaction
 * ends: of two at once that fit alone, the second sees the first. Its lock is taken after that of the account, and
 * whoever holds it waits for no other.
 * @throws 422 QUOTA_EXCEEDED
 */
export async function requireRoom(
  tx: Tx,
  config: Pick<Config, "media">,
  ownerId: string,
  uploadBytes: number,
): Promise<void> {
  const { bytes: quota } = await quotaBytes(tx, config, ownerId);
  if (quota === null) return;
  await sql`SELECT pg_advisory_xact_lock(hashtextextended(${`media.quota ${ownerId}`}, 0))`.execute(tx);
  const used = await usedBytes(tx, ownerId);
  if (used + uploadBytes > quota) throw exceeded(used, quota, uploadBytes);
}

/** Refuses an upload whose account has no room at all, before its body is read. @throws 422 QUOTA_EXCEEDED */
export async function refuseFull(
  db: Db,
  config: Pick<Config, "media">,
  ownerId: string,
  uploadBytes: number,
): Promise<void> {
  const { bytes: quota } = await quotaBytes(db, config, ownerId);
  if (quota === null) return;
  const used = await usedBytes(db, ownerId);
  if (used >= quota) throw exceeded(used, quota, uploadBytes);
}

async function quotaBytes(
  db: Db,
  { media }: Pick<Config, "media">,
  ownerId: string,
): Promise<{ bytes: number | null; own: boolean }> {
  const row = await db.selectFrom("media_quotas").select("bytes").where("user_id", "=", ownerId).executeTakeFirst();
  return row ? { bytes: row.bytes, own: true } : { bytes: media.quota, own: false };
}

/** Of the uploaded files, also of those that were given up for their renditions. From an index alone. */
async function usedBytes(db: Db, ownerId: string): Promise<number> {
  const { rows } = await sql<{ used: number }>`
    SELECT coalesce(sum(bytes), 0)::bigint AS used FROM media WHERE owner_id = ${ownerId} AND state <> 'removed'`.execute(
    db,
  );
  return rows[0]?.used ?? 0;
}

function exceeded(used_bytes: number, quota_bytes: number, upload_bytes: number) {
  return quotaExceeded(
    { used: used_bytes, quota: quota_bytes },
    { details: { used_bytes, quota_bytes, upload_bytes } },
  );
}
