import type { Tx } from "../../src/db/transaction.ts";
import type { AccountRow } from "./store.ts";

/** The media of an account's avatar: the one that is shown, and the latest upload until it is that or has failed. */
export type AvatarIds = Pick<AccountRow, "avatar_id" | "avatar_upload_id">;

/** To be read under `lockAccounts` by whoever is going to change it. */
export async function avatarOf(tx: Tx, userId: string): Promise<AvatarIds> {
  return tx
    .selectFrom("users")
    .select(["avatar_id", "avatar_upload_id"])
    .where("id", "=", userId)
    .executeTakeFirstOrThrow();
}

export async function setAvatar(tx: Tx, userId: string, ids: AvatarIds): Promise<void> {
  await tx.updateTable("users").set(ids).where("id", "=", userId).execute();
}
