import { randomUUID } from "node:crypto";
import { type Selectable, sql } from "kysely";
import type { Config } from "../../src/config/schema.ts";
import type { Context } from "../../src/context.ts";
import { PG_SNAPSHOT } from "../../src/db/snapshot.ts";
import type { Db } from "../../src/db/transaction.ts";
import { type Loaded, RowCache } from "../../src/redis/row-cache.ts";
import type { Card } from "../accounts/index.ts";
import { mentionedIds, showEntities } from "../entities/index.ts";
import type { ShownMedium } from "../media/index.ts";
import { urlsWith } from "../tickets/index.ts";
import type { Engagement } from "./engagement.ts";
import { toPost } from "./schemas.ts";
import { type PostsTable, shownMedia } from "./store.ts";

declare module "../../src/notices.ts" {
  interface NoticeTopics {
    "post.changed": "post_id";
  }
}

type StoredPost = Pick<
  Selectable<PostsTable>,
  "id" | "user_id" | "caption" | "caption_entities" | "comments_closed"
> & {
  created_at: string;
  published_at: string;
  media: ShownMedium[];
};

/** Seconds in Redis. */
const TTL = 3_600;
/** In the process, some 2 KB each. */
const MOST = 20_000;
/** Stands where the viewer's ticket belongs. Random, so that no caption can hold it. */
const TICKET = `?t=${randomUUID()}`;

/** What of a post's JSON is each viewer's own. */
export interface ViewerPart {
  engagement: Engagement;
  /** Makes the query string with the viewer's ticket. */
  ticket: () => Buffer;
  /** Today's name of an account that is mentioned, null where it is not there for the viewer. */
  nameOf: (userId: string) => string | null;
}

/** A published post that many read: its JSON is made once, but for what is each viewer's own. */
export class HotPost {
  readonly id: string;
  readonly author_id: string;
  /** Accounts in its caption. */
  readonly mentioned: readonly string[];
  readonly #row: StoredPost;
  /** For the author's card, which changes seldom. */
  #made: { card: Card; parts: readonly Buffer[] } | undefined;

  constructor(row: StoredPost) {
    this.id = row.id;
    this.author_id = row.user_id;
    this.mentioned = mentionedIds(row.caption_entities);
    this.#row = row;
  }

  /** Its JSON, in parts. */
  json(config: Pick<Config, "media" | "public_url">, card: Card, viewer: ViewerPart): Buffer[] {
    if (this.#made?.card !== card) this.#made = { card, parts: this.#parts(config, card) };
    const parts: Buffer[] = [];
    for (const part of this.#made.parts) {
      if (parts.length > 0) parts.push(viewer.ticket());
      parts.push(part);
    }
    parts.push(this.#end(viewer));
    return parts;
  }

  /** What of its JSON is the same for all viewers, cut where a ticket belongs, and open at the end. */
  #parts(config: Pick<Config, "media" | "public_url">, card: Card): Buffer[] {
    const { user_id: _, ...row } = this.#row;
    const shown = toPost(
      {
        ...row,
        author: card,
        status: "published",
        failure_code: null,
        failure_message: null,
        created_at: new Date(row.created_at),
        published_at: new Date(row.published_at),
        mentioned: {},
        ...NOBODYS,
      },
      urlsWith(config, () => TICKET),
    );
    const { like_count, comment_count, liked_by_me, saved_by_me, caption_entities, ...rest } = shown;
    const same = this.mentioned.length === 0 ? { ...rest, caption_entities } : rest;
    return JSON.stringify(same)
      .slice(0, -1)
      .split(TICKET)
      .map((part) => Buffer.from(part));
  }

  #end({ engagement, nameOf }: ViewerPart): Buffer {
    const { like_count, comment_count, liked_by_me, saved_by_me } = engagement;
    const entities =
      this.mentioned.length === 0
        ? ""
        : `,"caption_entities":${JSON.stringify(showEntities(this.#row.caption_entities, nameOf))}`;
    return Buffer.from(
      `${entities},"like_count":${like_count},"comment_count":${comment_count},"liked_by_me":${liked_by_me},"saved_by_me":${saved_by_me}}`,
    );
  }
}

/** Stands where a viewer's part will be. */
const NOBODYS: Engagement = { like_count: 0, comment_count: 0, liked_by_me: false, saved_by_me: false };

const caches = new WeakMap<Context["notices"], RowCache<StoredPost, HotPost>>();

/** The published posts that are read now. Whoever shows them asks first who may see them. */
export function hotPosts(context: Pick<Context, "redis" | "notices" | "bulkhead">): RowCache<StoredPost, HotPost> {
  const known = caches.get(context.notices);
  if (known) return known;
  const cache = new RowCache<StoredPost, HotPost>(context, {
    name: "post",
    topic: "post.changed",
    ttl: TTL,
    most: MOST,
    load,
    // A server of an older version keeps rows without the newer columns.
    thaw: (row) =>
      new HotPost({
        ...row,
        caption_entities: row.caption_entities ?? [],
        comments_closed: row.comments_closed ?? false,
      }),
  });
  caches.set(context.notices, cache);
  return cache;
}

async function load(db: Db, ids: readonly string[]): Promise<Loaded<StoredPost>> {
  const { rows } = await sql<StoredPost & { snapshot: string }>`
    SELECT ${PG_SNAPSHOT} AS snapshot, id, user_id, caption, caption_entities, comments_closed, created_at, published_at, ${shownMedia()} AS media
    FROM posts WHERE id = ANY(${ids}::uuid[]) AND status = 'published'`.execute(db);
  const found = new Map<string, StoredPost>();
  for (const { snapshot: _, ...row } of rows) found.set(row.id, row);
  return { snapshot: rows[0]?.snapshot ?? "", rows: found };
}
