import { type Db, inTransaction } from "../../src/db/transaction.ts";
import { tooBusy } from "../../src/http/errors.ts";
import { lockAccounts, requireActive } from "../accounts/index.ts";
import { hasOtherCurrent, keepsArchive, lockCurrent, setCurrentKept, setKeepsArchive } from "./archive-store.ts";

/** Tries in each of which a story is published meanwhile, which an author's limit of stories hardly allows. */
const ATTEMPTS = 10;

export interface StoryPreferences {
  /** Whether stories that are over are kept for their author. */
  keep_archive: boolean;
}

export async function storyPreferences(db: Db, userId: string): Promise<StoryPreferences> {
  return { keep_archive: await keepsArchive(db, userId) };
}

/**
 * Changes what becomes of the author's stories, from those on that are not over yet. What is in the archive stays there, and
 * what is over and not kept does not come back.
 * @returns all of them. @throws 503 after ATTEMPTS.
 */
export async function changeStoryPreferences(
  db: Db,
  userId: string,
  { keep_archive }: Partial<StoryPreferences>,
): Promise<StoryPreferences> {
  const before = await storyPreferences(db, userId);
  if (keep_archive === undefined || keep_archive === before.keep_archive) return before;
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    const isChanged = await inTransaction(db, async (tx) => {
      const held = await lockCurrent(tx, userId);
      // Stories are published behind this lock: from here on they ask what is written now.
      await lockAccounts(tx, [userId]);
      await requireActive(tx, userId);
      // Published while the lock was waited for. Stories are not locked behind an account: it begins again, with that one.
      if (await hasOtherCurrent(tx, userId, held)) return false;
      await setKeepsArchive(tx, userId, keep_archive);
      await setCurrentKept(tx, userId, keep_archive);
      return true;
    });
    if (isChanged) return { keep_archive };
  }
  throw tooBusy({}, { retryAfter: 1 });
}
