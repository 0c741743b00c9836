import { randomUUID } from "node:crypto";
import { type Selectable, sql } from "kysely";
import type { Config } from "../../src/config/schema.ts";
import type { Context } from "../../src/context.ts";
import { PG_SNAPSHOT } from "../../src/db/snapshot.ts";
import type { Db } from "../../src/db/transaction.ts";
import { type Loaded, RowCache } from "../../src/redis/row-cache.ts";
import type { Card } from "../accounts/index.ts";
import type { ShownMedium } from "../media/index.ts";
import { urlsWith } from "../tickets/index.ts";
import { toPost } from "./schemas.ts";
import { type PostsTable, shownMedia } from "./store.ts";

declare module "../../src/notices.ts" {
  interface NoticeTopics {
    "post.changed": "post_id";
  }
}

type StoredPost = Pick<Selectable<PostsTable>, "id" | "user_id" | "caption"> & {
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

/** A published post that many read: its JSON is made once, but for what is each viewer's own. */
export class HotPost {
  readonly id: string;
  readonly author_id: string;
  readonly #row: StoredPost;
  /** For the author's card, which changes seldom. */
  #made: { card: Card; parts: readonly Buffer[] } | undefined;

  constructor(row: StoredPost) {
    this.id = row.id;
    this.author_id = row.user_id;
    this.#row = row;
  }

  /** Its JSON, as one or more parts. @param ticket makes the query string with the viewer's ticket. */
  json(config: Pick<Config, "media" | "public_url">, card: Card, ticket: () => Buffer): readonly Buffer[] {
    if (this.#made?.card !== card) this.#made = { card, parts: this.#parts(config, card) };
    const { parts } = this.#made;
    if (parts.length === 1) return parts;
    return parts.flatMap((part, index) => (index === 0 ? [part] : [ticket(), part]));
  }

  #parts(config: Pick<Config, "media" | "public_url">, card: Card): Buffer[] {
    const { user_id: _, ...row } = this.#row;
    const post = toPost(
      {
        ...row,
        author: card,
        status: "published",
        failure_code: null,
        failure_message: null,
        created_at: new Date(row.created_at),
        published_at: new Date(row.published_at),
      },
      urlsWith(config, () => TICKET),
    );
    return JSON.stringify(post)
      .split(TICKET)
      .map((part) => Buffer.from(part));
  }
}

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
    thaw: (row) => new HotPost(row),
  });
  caches.set(context.notices, cache);
  return cache;
}

async function load(db: Db, ids: readonly string[]): Promise<Loaded<StoredPost>> {
  const { rows } = await sql<StoredPost & { snapshot: string }>`
    SELECT ${PG_SNAPSHOT} AS snapshot, id, user_id, caption, created_at, published_at, ${shownMedia()} AS media
    FROM posts WHERE id = ANY(${ids}::uuid[]) AND status = 'published'`.execute(db);
  const found = new Map<string, StoredPost>();
  for (const { snapshot: _, ...row } of rows) found.set(row.id, row);
  return { snapshot: rows[0]?.snapshot ?? "", rows: found };
}
