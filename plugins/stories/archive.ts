import { type Db, inTransaction } from "../../src/db/transaction.ts";
import { lockAccounts, requireActive } from "../accounts/index.ts";
import { keepsArchive, lockCurrent, setCurrentKept, setKeepsArchive } from "./archive-store.ts";

export interface StoryPreferences {
  /** Whether stories that are over are kept for their author. */
  keep_archive: boolean;
}

export async function storyPreferences(db: Db, userId: string): Promise<StoryPreferences> {
  return { keep_archive: await keepsArchive(db, userId) };
}

/**
 * Changes what becomes of the author's stories, from those on that are not over yet. What is in the archive stays there, and
 * what is over and not kept does not come back. @returns all of them.
 */
export async function changeStoryPreferences(
  db: Db,
  userId: string,
  { keep_archive }: Partial<StoryPreferences>,
): Promise<StoryPreferences> {
  if (keep_archive === undefined) return storyPreferences(db, userId);
  await inTransaction(db, async (tx) => {
    await lockCurrent(tx, userId);
    // Stories are published behind this lock: from here on they ask what is written now.
    await lockAccounts(tx, [userId]);
    await requireActive(tx, userId);
    // Those that were published while it was waited for. One in a highlight is put there behind its own lock.
    await lockCurrent(tx, userId);
    await setKeepsArchive(tx, userId, keep_archive);
    await setCurrentKept(tx, userId, keep_archive);
  });
  return { keep_archive };
}
