import type { Context } from "../../src/context.ts";
import { inTransaction, type Tx } from "../../src/db/transaction.ts";
import { addToLikeCounts, hasLog, holdPosts, lockLog, lockLogOf, takeLog } from "./log-store.ts";

/** What became of a post's likes since they were rolled up last; nobody is in both lists, or twice in one. */
export interface RolledUp {
  post_id: string;
  author_id: string;
  liked: { user_id: string; at: Date }[];
  unliked: string[];
}

declare module "../../src/events.ts" {
  interface Events {
    /** A batch, each post of it once. They are there, and stay until the transaction ends. */
    "likes.rolled_up": { posts: readonly RolledUp[] };
  }
}

type RollUpContext = Pick<Context, "db" | "emit">;

/** Rows of one transaction, in which as many posts may have to be told of: whoever asks for notifications may have to wait for it. */
const BATCH = 500;

/** Rows that are rolled up for whoever asks for notifications, in one transaction: the request and other roll-ups wait for it. */
const MOST_FOR_ONE = 10 * BATCH;

/** Rolls the log up until nothing is left of what there was, a batch a transaction. @returns the rows. */
export async function rollUp(context: RollUpContext, signal: AbortSignal): Promise<number> {
  let total = 0;
  for (;;) {
    signal.throwIfAborted();
    const rows = await rollUpSome(context);
    total += rows;
    if (rows < BATCH) return total;
  }
}

/** One batch. @returns its rows. */
export async function rollUpSome(context: RollUpContext): Promise<number> {
  // Looked at without the lock: many processes are woken, and the first of them does it all.
  if (!(await hasLog(context.db, null))) return 0;
  return inTransaction(context.db, async (tx) => {
    await lockLog(tx);
    return take(tx, context, null);
  });
}

/**
 * Rolls up what the log has of this author's posts, in the transaction of whoever wants to know it: all of it, but where
 * more than workers keep up with has come, whose rest is left to them and to whoever asks again.
 */
export async function rollUpOf(tx: Tx, context: Pick<Context, "emit">, authorId: string): Promise<void> {
  if (!(await hasLog(tx, authorId))) return;
  await lockLogOf(tx, authorId);
  for (let rows = 0; rows < MOST_FOR_ONE; rows += BATCH) if ((await take(tx, context, authorId)) < BATCH) return;
}

/** @returns how many rows were taken. */
async function take(tx: Tx, { emit }: Pick<Context, "emit">, authorId: string | null): Promise<number> {
  const { rows, posts } = await takeLog(tx, { authorId, limit: BATCH });
  if (rows === 0) return 0;
  const ids = posts.map(({ post_id }) => post_id);
  // A post that is being deleted waits, or is gone: of that one, nothing is counted or told.
  const there = await holdPosts(tx, ids);
  const counted = posts.filter(({ post_id }) => there.has(post_id));
  await addToLikeCounts(tx, counted);
  const changed = counted.flatMap(({ post_id, author_id, liked, unliked }) => {
    if (liked.length + unliked.length === 0) return [];
    return [{ post_id, author_id, liked: liked.map(({ user_id, at }) => ({ user_id, at: new Date(at) })), unliked }];
  });
  if (changed.length > 0) await emit(tx, "likes.rolled_up", { posts: changed });
  return rows;
}
