import type { Context } from "../../src/context.ts";
import type { Tx } from "../../src/db/transaction.ts";
import { announceChange } from "./changes.ts";
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

/** Shows another avatar, or none; no upload waits to become it any more. */
export async function setAvatar(
  tx: Tx,
  context: Pick<Context, "emit" | "notices">,
  userId: string,
  avatarId: string | null,
): Promise<void> {
  await tx.updateTable("users").set({ avatar_id: avatarId, avatar_upload_id: null }).where("id", "=", userId).execute();
  await announceChange(tx, context, userId);
}

/** The upload that is shown once it has been processed. */
export async function setAvatarUpload(tx: Tx, userId: string, uploadId: string | null): Promise<void> {
  await tx.updateTable("users").set({ avatar_upload_id: uploadId }).where("id", "=", userId).execute();
}
