import type { Context } from "../../src/context.ts";
import { type Db, inTransaction, type Tx } from "../../src/db/transaction.ts";
import { unauthenticated } from "../../src/http/errors.ts";
import {
  type AccountRow,
  type AvatarIds,
  accountById,
  avatarOf,
  lockAccounts,
  requireActive,
  setAvatar,
  setAvatarUpload,
} from "../accounts/index.ts";
import { createMedia, discardOriginals, retireMedia, storeOriginals, type Upload } from "../media/index.ts";
import { ownerOfAvatar } from "./store.ts";

/**
 * Takes a picture as the account's next avatar. When this resolves it is durable, and is shown once it has been processed;
 * an upload before it that has not come so far never will be.
 * @param pictures one; of several, the last.
 * @throws 401 for an account that is gone.
 */
export async function uploadAvatar(
  context: Context,
  userId: string,
  pictures: Upload["pictures"],
): Promise<AccountRow> {
  const originals = await storeOriginals(context, pictures);
  try {
    return await inTransaction(context.db, async (tx) => {
      // The account first, though media go before accounts: nobody else can know of the new medium's row.
      const { avatar_upload_id: overtaken } = await lockOwn(tx, userId);
      await createMedia(tx, context, { originals, owner_id: userId, purpose: "avatar" });
      await setAvatarUpload(tx, userId, originals.at(-1)?.id ?? null);
      await retireMedia(tx, context, [overtaken]);
      return present(tx, userId);
    });
  } catch (error) {
    await discardOriginals(context, originals);
    throw error;
  }
}

/** Takes the avatar away, and an upload that would become it. Idempotent. @throws 401 for an account that is gone. */
export async function removeAvatar(context: Context, userId: string): Promise<AccountRow> {
  return inTransaction(context.db, async (tx) => {
    const { avatar_id, avatar_upload_id } = await lockOwn(tx, userId);
    await setAvatar(tx, context, userId, null);
    await retireMedia(tx, context, [avatar_id, avatar_upload_id]);
    return present(tx, userId);
  });
}

/**
 * A medium has been processed: if it is the latest upload of an avatar, it is shown from now on. One that was overtaken is
 * being removed by whoever overtook it, and one that failed stays to tell why. To be told twice changes nothing.
 */
export async function showAvatar(
  tx: Tx,
  context: Pick<Context, "emit" | "enqueueAll" | "notices">,
  mediumId: string,
): Promise<void> {
  const ownerId = await ownerOfAvatar(tx, mediumId);
  if (ownerId === undefined) return;
  await lockAccounts(tx, [ownerId]);
  const { avatar_id, avatar_upload_id } = await avatarOf(tx, ownerId);
  if (avatar_upload_id !== mediumId) return;
  await setAvatar(tx, context, ownerId, mediumId);
  await retireMedia(tx, context, [avatar_id]);
}

/** @throws 401 for an account that is gone. */
export async function present(db: Db, userId: string): Promise<AccountRow> {
  const account = await accountById(db, userId);
  if (!account) throw unauthenticated({});
  return account;
}

async function lockOwn(tx: Tx, userId: string): Promise<AvatarIds> {
  await lockAccounts(tx, [userId]);
  await requireActive(tx, userId);
  return avatarOf(tx, userId);
}
