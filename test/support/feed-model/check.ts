import type { Json } from "../client.ts";
import { accountKey, captionKey, type Doubts, pairKey, postKey, privacyKey } from "./doubts.ts";
import { type FeedModel, isNewer, type ModelPost, type Position } from "./model.ts";

/** How far somebody has come in a feed. */
export interface Walk {
  cursor: string;
  after: Position | null;
  /** The page before was short: the cursor may lie beyond its last post. */
  gap: boolean;
}

/** A page that was read. */
export interface Read {
  viewer: string;
  server: number;
  limit: number;
  /** Date.now() before it was asked for. */
  time: number;
  walk: Walk | null;
  body: Json;
}

/** Holds a page to what is certain. @throws where it shows what it must not, out of order, or lacks what it must show. */
export function checkPage(model: FeedModel, doubts: Pick<Doubts, "any">, read: Read): void {
  const { viewer, server, limit, time, walk, body } = read;
  const inDoubt = ({ id, author }: ModelPost) =>
    doubts.any([pairKey(viewer, author), accountKey(author), postKey(id)], time, server);
  const wrong = (what: string) => new Error(`${viewer}'s page of server ${server} ${what}: ${describe(read)}`);
  const items: Json[] = body.items;
  if (items.length > limit) throw wrong("is too long");

  let last = walk?.after ?? null;
  for (const item of items) {
    const position = positionOf(item);
    if (last && !isNewer(last, position)) throw wrong(`has ${item.id} twice or out of order`);
    last = position;
    const post = model.posts.get(item.id);
    if (!post) throw wrong(`has ${item.id}, which nobody posted`);
    if (item.author.username !== post.author) throw wrong(`says that ${item.id} is by ${item.author.username}`);
    if (post.published_at !== null && item.published_at !== post.published_at) throw wrong(`dates ${item.id} wrongly`);
    if (!inDoubt(post)) {
      if (post.deleted) throw wrong(`shows ${item.id}, which is deleted`);
      if (!model.shows(viewer, post.author)) throw wrong(`shows ${item.id} of ${post.author}, which it must not`);
    }
    if (!doubts.any([captionKey(item.id)], time, server) && item.caption !== post.caption) {
      throw wrong(`has a caption of ${item.id} that is not ${JSON.stringify(post.caption)}`);
    }
    const url: string | undefined = item.media[0]?.medium_url;
    if (url && !doubts.any([privacyKey(post.author)], time, server)) {
      const hasTicket = url.includes("?t=");
      if (hasTicket !== model.graph.isPrivate.has(post.author)) throw wrong(`has ${item.id} at ${url}`);
    }
  }

  const shown = new Set(items.map(({ id }) => id));
  const first = items[0] && positionOf(items[0]);
  for (const post of model.feedOf(viewer)) {
    if (!post.settled || inDoubt(post) || shown.has(post.id)) continue;
    if (walk?.after && !isNewer(walk.after, post)) continue;
    if (walk?.gap && (!first || isNewer(post, first))) continue;
    if (body.next_cursor !== null && (items.length === 0 || (last && isNewer(last, post)))) continue;
    throw wrong(`lacks ${post.id} of ${post.author}`);
  }
}

/** Where the reader of a page has come; null at the end. */
export function walkOn({ limit, walk, body }: Read): Walk | null {
  if (body.next_cursor === null) return null;
  const last: Json | undefined = body.items.at(-1);
  return {
    cursor: body.next_cursor,
    after: last ? positionOf(last) : (walk?.after ?? null),
    gap: body.items.length < limit,
  };
}

const positionOf = ({ published_at, id }: Json): Position => ({ at: published_at, id });

function describe({ limit, walk, body }: Read): string {
  const items: Json[] = body.items;
  return JSON.stringify({
    limit,
    walk,
    items: items.map(({ id, author, published_at }) => `${id} ${author.username} ${published_at}`),
    next_cursor: body.next_cursor,
    degraded: body.degraded,
  });
}
