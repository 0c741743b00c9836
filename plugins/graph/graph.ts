import type { Context } from "../../src/context.ts";
import { type Db, inTransaction, type Tx } from "../../src/db/transaction.ts";
import { keepAnswer } from "../../src/http/idempotency.ts";
import { addToCounter, lockAccounts, requireActive, userNotFound } from "../accounts/index.ts";
import {
  cannotBlockSelf,
  cannotFollowSelf,
  cannotListSelf,
  cannotMuteSelf,
  followRequestNotFound,
  youBlock,
} from "./errors.ts";
import {
  type Account,
  deleteBlock,
  deleteCloseFriend,
  deleteFollow,
  deleteMute,
  deleteRequest,
  deleteStoryHide,
  findAccount,
  insertBlock,
  insertCloseFriend,
  insertFollow,
  insertMute,
  insertRequest,
  insertStoryHide,
  isFollowing,
} from "./store.ts";
import { mayBeKnownTo, mayBeSeenBy } from "./visibility.ts";

/** What one is to an account: follows it, has asked to, or neither. */
export type FollowStatus = "following" | "requested" | "none";

/** What the other now is to the viewer. */
interface Following {
  status: FollowStatus;
}
interface Blocking {
  blocking: boolean;
}
interface Muting {
  muting: boolean;
}
interface Closeness {
  close_friend: boolean;
}
interface Hiding {
  stories_hidden: boolean;
}

/** It ended with one of the two, who is being deleted and has nothing left that could be seen. */
interface Erased {
  erased?: true;
}

declare module "../../src/events.ts" {
  interface Events {
    "follow.started": { follower_id: string; following_id: string };
    "follow.ended": { follower_id: string; following_id: string } & Erased;
    "follow.requested": { follower_id: string; following_id: string };
    /** The request was answered with yes; `follow.started` goes before it. */
    "follow.approved": { follower_id: string; following_id: string };
    /**
     * Many at once, of an account that has gone public, in the place of `follow.approved` of each and of `follow.started` of
     * those who did not follow it yet.
     */
    "follows.approved": { following_id: string; follower_ids: string[]; started_ids: string[] };
    /** Withdrawn, denied, or ended by a block. */
    "follow.request_ended": { follower_id: string; following_id: string };
    "account.blocked": { blocker_id: string; blocked_id: string };
    "account.unblocked": { blocker_id: string; blocked_id: string } & Erased;
    "account.muted": { muter_id: string; muted_id: string };
    "account.unmuted": { muter_id: string; muted_id: string } & Erased;
    /** Which of an account's stories another may see: it became a close friend, or they are hidden from it, or that ended. */
    "story_audience.changed": { owner_id: string; viewer_id: string } & Erased;
  }
}

type GraphContext = Pick<Context, "db" | "emit">;

/** @throws 404 when there is no such account for the viewer. */
export async function requireKnown(db: Db, viewerId: string, username: string): Promise<Account> {
  const account = await findAccount(db, viewerId, { username }, mayBeKnownTo(viewerId));
  if (!account) throw userNotFound({ username });
  return account;
}

/** @throws 404 when there is no such account, or the viewer may not see what it shares. */
export async function requireSeen(db: Db, viewerId: string, username: string): Promise<Account> {
  const account = await findAccount(db, viewerId, { username }, mayBeSeenBy(viewerId));
  if (!account) throw userNotFound({ username });
  return account;
}

/** Follows a public account, asks a private one. Idempotent. @throws 404, 422 for oneself, 403 for whom one blocks. */
export async function follow(context: GraphContext, viewerId: string, username: string): Promise<Following> {
  return betweenTwo<Following>(context, viewerId, username, cannotFollowSelf, async (tx, target) => {
    if (target.blocking) throw youBlock({ username: target.username });
    const pair = { follower_id: viewerId, following_id: target.id };
    if (await isFollowing(tx, pair)) return { status: "following" };
    if (target.is_private) {
      if (await insertRequest(tx, pair)) await context.emit(tx, "follow.requested", pair);
      return { status: "requested" };
    }
    // One that was made before the account went public, and has not been approved yet.
    if (await deleteRequest(tx, pair)) await context.emit(tx, "follow.request_ended", pair);
    await startFollow(tx, context, pair);
    return { status: "following" };
  });
}

/** Ends a follow, or withdraws the request. Idempotent. @throws 404, 422 for oneself. */
export async function unfollow(context: GraphContext, viewerId: string, username: string): Promise<Following> {
  return betweenTwo<Following>(context, viewerId, username, cannotFollowSelf, async (tx, target) => {
    await endFollowing(tx, context, { follower_id: viewerId, following_id: target.id });
    return { status: "none" };
  });
}

/** Idempotent: who follows already stays a follower. @returns what the other now is to the viewer. @throws 404 */
export async function approve(context: GraphContext, viewerId: string, username: string): Promise<Following> {
  return betweenTwo<Following>(context, viewerId, username, cannotFollowSelf, async (tx, requester) => {
    const pair = { follower_id: requester.id, following_id: viewerId };
    if (await deleteRequest(tx, pair)) {
      await startFollow(tx, context, pair);
      await context.emit(tx, "follow.approved", pair);
    } else if (!(await isFollowing(tx, pair))) throw followRequestNotFound({ username: requester.username });
    return { status: "following" };
  });
}

/** Idempotent. @returns what the other now is to the viewer. @throws 404 for no such account. */
export async function deny(context: GraphContext, viewerId: string, username: string): Promise<Following> {
  return betweenTwo<Following>(context, viewerId, username, cannotFollowSelf, async (tx, requester) => {
    const pair = { follower_id: requester.id, following_id: viewerId };
    if (await deleteRequest(tx, pair)) await context.emit(tx, "follow.request_ended", pair);
    return { status: (await isFollowing(tx, pair)) ? "following" : "none" };
  });
}

/** Takes a follower, or a request, away. Idempotent. @throws 404 for no such account. */
export async function removeFollower(context: GraphContext, viewerId: string, username: string): Promise<Following> {
  return betweenTwo<Following>(context, viewerId, username, cannotFollowSelf, async (tx, follower) => {
    await endFollowing(tx, context, { follower_id: follower.id, following_id: viewerId });
    return { status: "none" };
  });
}

/** Ends follows and requests in both directions. Idempotent. @returns whether one blocks now. @throws 404, 422 for oneself. */
export async function block(context: GraphContext, viewerId: string, username: string): Promise<Blocking> {
  return betweenTwo(context, viewerId, username, cannotBlockSelf, async (tx, { id }) => {
    const pair = { blocker_id: viewerId, blocked_id: id };
    if (!(await insertBlock(tx, pair))) return { blocking: true };
    await endFollowing(tx, context, { follower_id: viewerId, following_id: id });
    await endFollowing(tx, context, { follower_id: id, following_id: viewerId });
    await deleteCloseFriend(tx, { owner_id: viewerId, friend_id: id });
    await deleteCloseFriend(tx, { owner_id: id, friend_id: viewerId });
    await context.emit(tx, "account.blocked", pair);
    return { blocking: true };
  });
}

/** Brings no follow back. Idempotent. @returns whether one blocks now. @throws 404, 422 for oneself. */
export async function unblock(context: GraphContext, viewerId: string, username: string): Promise<Blocking> {
  return betweenTwo(context, viewerId, username, cannotBlockSelf, async (tx, { id }) => {
    const pair = { blocker_id: viewerId, blocked_id: id };
    if (await deleteBlock(tx, pair)) await context.emit(tx, "account.unblocked", pair);
    return { blocking: false };
  });
}

/** Keeps an account's posts out of the viewer's feed. Idempotent. @returns whether one mutes now. @throws 404, 422. */
export async function mute(context: GraphContext, viewerId: string, username: string): Promise<Muting> {
  return betweenTwo(context, viewerId, username, cannotMuteSelf, async (tx, { id }) => {
    const pair = { muter_id: viewerId, muted_id: id };
    if (await insertMute(tx, pair)) await context.emit(tx, "account.muted", pair);
    return { muting: true };
  });
}

/** Idempotent. @returns whether one mutes now. @throws 404, 422 for oneself. */
export async function unmute(context: GraphContext, viewerId: string, username: string): Promise<Muting> {
  return betweenTwo(context, viewerId, username, cannotMuteSelf, async (tx, { id }) => {
    const pair = { muter_id: viewerId, muted_id: id };
    if (await deleteMute(tx, pair)) await context.emit(tx, "account.unmuted", pair);
    return { muting: false };
  });
}

/** Shows an account the stories that are for close friends. Idempotent. @returns whether it is one now. @throws 404, 422, 403. */
export async function addCloseFriend(context: GraphContext, viewerId: string, username: string): Promise<Closeness> {
  return betweenTwo(context, viewerId, username, cannotListSelf, async (tx, target) => {
    if (target.blocking) throw youBlock({ username: target.username });
    const added = await insertCloseFriend(tx, { owner_id: viewerId, friend_id: target.id });
    if (added) await context.emit(tx, "story_audience.changed", { owner_id: viewerId, viewer_id: target.id });
    return { close_friend: true };
  });
}

/** Idempotent. @returns whether it is one now. @throws 404, 422 for oneself. */
export async function removeCloseFriend(context: GraphContext, viewerId: string, username: string): Promise<Closeness> {
  return betweenTwo(context, viewerId, username, cannotListSelf, async (tx, { id }) => {
    const removed = await deleteCloseFriend(tx, { owner_id: viewerId, friend_id: id });
    if (removed) await context.emit(tx, "story_audience.changed", { owner_id: viewerId, viewer_id: id });
    return { close_friend: false };
  });
}

/** Hides all of one's stories from an account. Idempotent. @returns whether they are now. @throws 404, 422 for oneself. */
export async function hideStories(context: GraphContext, viewerId: string, username: string): Promise<Hiding> {
  return betweenTwo(context, viewerId, username, cannotListSelf, async (tx, { id }) => {
    const added = await insertStoryHide(tx, { owner_id: viewerId, hidden_id: id });
    if (added) await context.emit(tx, "story_audience.changed", { owner_id: viewerId, viewer_id: id });
    return { stories_hidden: true };
  });
}

/** Idempotent. @returns whether they are hidden now. @throws 404, 422 for oneself. */
export async function showStories(context: GraphContext, viewerId: string, username: string): Promise<Hiding> {
  return betweenTwo(context, viewerId, username, cannotListSelf, async (tx, { id }) => {
    const removed = await deleteStoryHide(tx, { owner_id: viewerId, hidden_id: id });
    if (removed) await context.emit(tx, "story_audience.changed", { owner_id: viewerId, viewer_id: id });
    return { stories_hidden: false };
  });
}

/**
 * Runs `work` with both accounts locked, so that all that happens between two people happens one after the other.
 * Who they are to each other is read behind the lock: before it, somebody may just be blocking.
 * @returns what `work` gives, which is the answer, and is kept as such with what it did.
 */
async function betweenTwo<Answer extends object>(
  { db }: GraphContext,
  viewerId: string,
  username: string,
  refuseSelf: (values: Record<never, never>) => Error,
  work: (tx: Tx, target: Account) => Promise<Answer>,
): Promise<Answer> {
  const { id } = await requireKnown(db, viewerId, username);
  if (id === viewerId) throw refuseSelf({});
  return inTransaction(db, async (tx) => {
    await lockAccounts(tx, [viewerId, id]);
    await requireActive(tx, viewerId);
    const target = await findAccount(tx, viewerId, { id }, mayBeKnownTo(viewerId));
    if (!target) throw userNotFound({ username });
    const answer = await work(tx, target);
    await keepAnswer(tx, 200, answer);
    return answer;
  });
}

interface Pair {
  follower_id: string;
  following_id: string;
}

async function startFollow(tx: Tx, { emit }: GraphContext, pair: Pair): Promise<void> {
  if (!(await insertFollow(tx, pair))) return;
  await addToCounter(tx, pair.follower_id, "following_count", 1);
  await addToCounter(tx, pair.following_id, "follower_count", 1);
  await emit(tx, "follow.started", pair);
}

/** The follow, or the request for it, whichever there is. */
async function endFollowing(tx: Tx, { emit }: GraphContext, pair: Pair): Promise<void> {
  if (await deleteRequest(tx, pair)) await emit(tx, "follow.request_ended", pair);
  const ended = await deleteFollow(tx, pair);
  if (!ended) return;
  // Both are active here, but one of them may just be back, and the row not counted again yet.
  if (ended.counted) {
    await addToCounter(tx, pair.follower_id, "following_count", -1);
    await addToCounter(tx, pair.following_id, "follower_count", -1);
  }
  await emit(tx, "follow.ended", pair);
}
