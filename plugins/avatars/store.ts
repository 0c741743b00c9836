import type { Db } from "../../src/db/transaction.ts";
import type { Failure } from "../media/index.ts";

/** @returns whose avatar the medium was uploaded for; undefined for a medium of another purpose. */
export async function ownerOfAvatar(db: Db, mediumId: string): Promise<string | undefined> {
  const row = await db
    .selectFrom("media")
    .select("owner_id")
    .where("id", "=", mediumId)
    .where("purpose", "=", "avatar")
    .executeTakeFirst();
  return row?.owner_id;
}

/** How the latest upload stands, or undefined when there is none that is not the avatar already. */
export async function uploadOf(db: Db, userId: string): Promise<{ failure: Failure | null } | undefined> {
  const row = await db
    .selectFrom("users")
    .innerJoin("media", "media.id", "users.avatar_upload_id")
    .select(["media.state", "media.failure_code", "media.failure_message"])
    .where("users.id", "=", userId)
    .executeTakeFirst();
  if (!row) return undefined;
  const failure = { code: row.failure_code ?? "", message: row.failure_message ?? "" };
  return { failure: row.state === "failed" ? failure : null };
}
