import type { Context } from "../../src/context.ts";
import type { Tx } from "../../src/db/transaction.ts";
import { firstEntities, hashtagsOf, mentionedIds, resolveEntities, type StoredEntity } from "../entities/index.ts";
import { hotPosts } from "./hot-posts.ts";
import { type CaptionedPost, holdCaptions, updatePost } from "./store.ts";

/** Whom the captions of one post may be told to, one after the other. */
const MOST_TOLD = 100;

/**
 * A page of posts in any state, by id, held against other changes of their captions until the transaction ends. The captions that
 * a server has written that knows no hashtags and mentions are parsed now; nobody is told of what they mention.
 */
export async function parsedCaptions(
  tx: Tx,
  context: Pick<Context, "redis" | "notices" | "bulkhead">,
  { after, limit }: { after: string; limit: number },
): Promise<CaptionedPost[]> {
  const posts = await holdCaptions(tx, after, limit);
  for (const post of posts.filter(({ caption, caption_parses }) => caption !== null && caption_parses === 0)) {
    const entities = await resolveEntities(tx, post.author_id, firstEntities(post.caption ?? ""));
    if (entities.length + post.caption_entities.length === 0) continue;
    post.caption_entities = entities;
    await updatePost(tx, post.post_id, { caption_entities: JSON.stringify(entities) });
    await hotPosts(context).drop(tx, post.post_id);
  }
  return posts;
}

/** What `announceCaption` has to know of a post before its caption became another. */
export interface CaptionBefore {
  id: string;
  user_id: string;
  published_at: Date | null;
  caption_entities: readonly StoredEntity[];
  caption_told: readonly string[];
}

/** Of a published post whose caption has become another. Its row is locked. */
export async function announceCaption(
  tx: Tx,
  { emit }: Pick<Context, "emit">,
  before: CaptionBefore,
  entities: readonly StoredEntity[],
): Promise<void> {
  const { id: post_id, user_id: author_id, published_at } = before;
  if (published_at === null) return;
  await emit(tx, "post.caption_changed", { post_id, author_id, published_at, hashtags: hashtagsOf(entities) });
  const [was, is] = [othersIn(before.caption_entities, author_id), othersIn(entities, author_id)];
  const told = [...new Set([...before.caption_told, ...was])];
  const added = is.filter((id) => !told.includes(id)).slice(0, Math.max(0, MOST_TOLD - told.length));
  const removed = was.filter((id) => !is.includes(id));
  if (added.length + removed.length === 0) return;
  await updatePost(tx, post_id, { caption_told: [...told, ...added] });
  await emit(tx, "mentions.changed", { post_id, comment_id: null, author_id, added, removed });
}

/** Whom a text mentions beside its author. */
export function othersIn(entities: readonly StoredEntity[], authorId: string): string[] {
  return mentionedIds(entities).filter((id) => id !== authorId);
}
