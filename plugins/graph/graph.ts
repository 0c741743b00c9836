import type { Context } from "../../src/context.ts";
import { inTransaction } from "../../src/db/transaction.ts";
import { addToCounter, lockAccounts, requireAccount } from "../accounts/index.ts";
import { cannotFollowSelf } from "./errors.ts";
import { deleteFollow, insertFollow } from "./store.ts";

export type FollowStatus = "following" | "requested" | "none";

declare module "../../src/events.ts" {
  interface Events {
    "follow.started": { follower_id: string; following_id: string };
    "follow.ended": { follower_id: string; following_id: string };
  }
}

type GraphContext = Pick<Context, "db" | "emit">;

/** Idempotent. @throws 404 for no such account, 422 for oneself. */
export async function follow({ db, emit }: GraphContext, followerId: string, username: string): Promise<FollowStatus> {
  const { id: followingId } = await requireAccount(db, username);
  if (followingId === followerId) throw cannotFollowSelf({});
  await inTransaction(db, async (tx) => {
    await lockAccounts(tx, [followerId, followingId]);
    if (!(await insertFollow(tx, followerId, followingId))) return;
    await addToCounter(tx, followerId, "following_count", 1);
    await addToCounter(tx, followingId, "follower_count", 1);
    await emit(tx, "follow.started", { follower_id: followerId, following_id: followingId });
  });
  return "following";
}

/** Idempotent. @throws 404 for no such account. */
export async function unfollow(
  { db, emit }: GraphContext,
  followerId: string,
  username: string,
): Promise<FollowStatus> {
  const { id: followingId } = await requireAccount(db, username);
  await inTransaction(db, async (tx) => {
    await lockAccounts(tx, [followerId, followingId]);
    if (!(await deleteFollow(tx, followerId, followingId))) return;
    await addToCounter(tx, followerId, "following_count", -1);
    await addToCounter(tx, followingId, "follower_count", -1);
    await emit(tx, "follow.ended", { follower_id: followerId, following_id: followingId });
  });
  return "none";
}
