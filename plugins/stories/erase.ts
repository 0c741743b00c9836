import type { Context } from "../../src/context.ts";
import { inTransaction } from "../../src/db/transaction.ts";
import { lockAccounts } from "../accounts/index.ts";
import { takeApart } from "./cleanup.ts";
import {
  deletePreferences,
  deleteSomeHighlights,
  deleteViewsBy,
  lockSomeStories,
  lockStories,
  someSeenBy,
} from "./erase-store.ts";

type EraseContext = Pick<Context, "db" | "emit">;

const HIGHLIGHTS = 10;
/** Stories that one transaction holds. */
const BATCH = 100;
const READ = 1_000;

/** Removes the account's stories with who has seen them, its highlights, and what it has seen of others: their counts are kept. */
export async function eraseStories(context: EraseContext, userId: string, signal: AbortSignal): Promise<void> {
  for (let deleted = HIGHLIGHTS; deleted === HIGHLIGHTS; ) {
    signal.throwIfAborted();
    deleted = await deleteSomeHighlights(context.db, userId, HIGHLIGHTS);
  }
  await eraseOwn(context, userId, signal);
  await eraseSeen(context, userId, signal);
  await deletePreferences(context.db, userId);
}

/** Their pictures are left to the erasing of media, which comes later, as those of posts are. */
async function eraseOwn({ db, emit }: EraseContext, userId: string, signal: AbortSignal): Promise<void> {
  for (let left = true; left; ) {
    signal.throwIfAborted();
    left = await inTransaction(db, async (tx) => {
      const held = await lockSomeStories(tx, userId, BATCH);
      if (held.length === 0) return false;
      await takeApart(
        tx,
        held.map(({ id }) => id),
      );
      const published = held.filter(({ status }) => status === "published");
      if (published.length > 0) await lockAccounts(tx, [userId]);
      for (const { id } of published) await emit(tx, "story.removed", { story_id: id, author_id: userId });
      return true;
    });
  }
}

async function eraseSeen({ db }: EraseContext, userId: string, signal: AbortSignal): Promise<void> {
  for (;;) {
    const ids = await someSeenBy(db, userId, READ);
    if (ids.length === 0) return;
    while (ids.length > 0) {
      signal.throwIfAborted();
      const batch = ids.splice(-BATCH);
      await inTransaction(db, async (tx) => {
        await lockStories(tx, batch);
        await deleteViewsBy(tx, userId, batch);
      });
    }
  }
}
