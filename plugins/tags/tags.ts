import { NIL } from "uuid";
import type { Context } from "../../src/context.ts";
import { type Db, inTransaction } from "../../src/db/transaction.ts";
import type { RankedPosition } from "../../src/http/paging.ts";
import { hashtagsOf, normalizeTag } from "../entities/index.ts";
import { parsedCaptions } from "../posts/index.ts";
import { tagSearchEmpty } from "./errors.ts";
import { type FoundTag, findTags } from "./list-store.ts";
import { addLogToUses, deleteSomeStrays, deleteUnused, setTags } from "./store.ts";

const COUNTED = 10_000;
/** Posts of one transaction of a rebuild. */
const BATCH = 200;
const STRAYS = 1_000;

/**
 * One page of the hashtags that begin with what was typed, of posts that the viewer may see: the most used first.
 * @param typed with its sign or without, in any case.
 * @throws 422 when that is nothing.
 */
export async function searchTags(
  db: Db,
  viewerId: string,
  typed: string,
  page: { limit: number; after: RankedPosition | null },
): Promise<FoundTag[]> {
  const bare = typed.trim().replace(/^[#＃]/, "");
  if (bare === "") throw tagSearchEmpty({});
  const prefix = normalizeTag(bare);
  return prefix === null ? [] : findTags(db, viewerId, prefix, page);
}

/** Adds the log to the uses until it is empty. */
export async function countTags(db: Db, signal: AbortSignal): Promise<void> {
  for (let taken = COUNTED; taken === COUNTED; ) {
    signal.throwIfAborted();
    taken = await addLogToUses(db, COUNTED);
  }
  await deleteUnused(db);
}

/**
 * Gives every published post the hashtags of its caption, and its entities to every post whose caption was written by a server
 * that knew none. May be ended at any moment, and run while serving.
 */
export async function rebuildTags(
  context: Pick<Context, "db" | "redis" | "notices" | "bulkhead">,
  { signal, onProgress }: { signal: AbortSignal; onProgress(posts: number): void },
): Promise<{ posts: number; strays: number }> {
  const { db } = context;
  let [posts, strays] = [0, 0];
  for (let after: string | undefined = NIL; after !== undefined; ) {
    signal.throwIfAborted();
    const from: string = after;
    const page = await inTransaction(db, async (tx) => {
      const held = await parsedCaptions(tx, context, { after: from, limit: BATCH });
      for (const { published_at, ...post } of held) {
        if (published_at) await setTags(tx, { ...post, published_at }, hashtagsOf(post.caption_entities));
      }
      return held;
    });
    posts += page.length;
    onProgress(posts);
    after = page.at(-1)?.post_id;
  }
  for (let gone = STRAYS; gone === STRAYS; strays += gone) {
    signal.throwIfAborted();
    gone = await deleteSomeStrays(db, STRAYS);
  }
  await countTags(db, signal);
  return { posts, strays };
}
