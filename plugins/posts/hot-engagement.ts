import { sql } from "kysely";
import { LRUCache } from "lru-cache";
import type { Context } from "../../src/context.ts";
import { coalesce } from "../../src/db/coalesce.ts";
import type { Db } from "../../src/db/transaction.ts";
import { commentCountOf, type Engagement, isLikedBy, isSavedBy, likeCountOf } from "./engagement.ts";

type Counts = Pick<Engagement, "like_count" | "comment_count">;
type Marks = Pick<Engagement, "liked_by_me" | "saved_by_me">;

/** Milliseconds that counts are believed. */
const KEPT_FOR = 1_000;
/** Some 150 bytes each. */
const MOST = 50_000;
/** Posts, or pages, of one query. */
const BATCH = 500;

interface HotEngagement {
  /** By post. The viewer's own marks are as they are now, counts up to a second old. */
  of(viewerId: string, postIds: readonly string[]): Promise<Map<string, Engagement>>;
  /** Whoever asks from now on is given counts that were read from now on. */
  forget(postId: string): void;
}

const known = new WeakMap<Context["notices"], HotEngagement>();

/** The engagement of posts that many read now: all pages that are asked for at once share two queries. */
export function hotEngagement(context: Pick<Context, "db" | "notices">): HotEngagement {
  const found = known.get(context.notices) ?? create(context.db);
  known.set(context.notices, found);
  return found;
}

function create(db: Db): HotEngagement {
  const kept = new LRUCache<string, Counts>({ max: MOST, ttl: KEPT_FOR });
  /** What was forgotten since the query of counts began that is under way, which may have read it before; null with none. */
  let forgotten: Set<string> | null = null;
  const counts = coalesce(
    async (ids: readonly string[]) => {
      const start = performance.now();
      const meanwhile = new Set<string>();
      forgotten = meanwhile;
      try {
        const read = await readCounts(db, ids);
        for (const [id, value] of read) if (!meanwhile.has(id)) kept.set(id, value, { start });
        return read;
      } finally {
        forgotten = null;
      }
    },
    { batch: BATCH },
  );
  const marks = coalesce((pages: readonly string[]) => readMarks(db, pages), { batch: BATCH });

  const countsOf = async (ids: readonly string[]): Promise<Map<string, Counts>> => {
    const found = new Map<string, Counts>();
    const missing: string[] = [];
    for (const id of ids) {
      const value = kept.get(id);
      if (value) found.set(id, value);
      else missing.push(id);
    }
    if (missing.length > 0) for (const [id, value] of await counts(missing)) found.set(id, value);
    return found;
  };

  return {
    async of(viewerId, postIds) {
      if (postIds.length === 0) return new Map();
      // A page is one key: twenty promises for twenty posts were a visible part of it.
      const page = [viewerId, ...postIds].join(" ");
      const [all, mine] = await Promise.all([countsOf(postIds), marks([page])]);
      const own = mine.get(page);
      return new Map(postIds.map((id) => [id, { ...NOTHING, ...all.get(id), ...own?.get(id) }]));
    },
    forget(postId) {
      kept.delete(postId);
      forgotten?.add(postId);
    },
  };
}

const NOTHING: Engagement = { like_count: 0, comment_count: 0, liked_by_me: false, saved_by_me: false };

async function readCounts(db: Db, ids: readonly string[]): Promise<Map<string, Counts>> {
  const { rows } = await sql<Counts & { id: string }>`
    SELECT id, ${likeCountOf("asked.id")} AS like_count, ${commentCountOf("asked.id")} AS comment_count
    FROM unnest(${ids}::uuid[]) AS asked (id)`.execute(db);
  return new Map(rows.map(({ id, ...counts }) => [id, counts]));
}

/** @param pages a viewer's id and those of the posts, between spaces. @returns by page the posts that are marked, by id. */
async function readMarks(db: Db, pages: readonly string[]): Promise<Map<string, Map<string, Marks>>> {
  const marked = new Map<string, Map<string, Marks>>();
  const [places, viewers, posts]: [number[], string[], string[]] = [[], [], []];
  for (const [place, page] of pages.entries()) {
    const [viewer = "", ...ids] = page.split(" ");
    marked.set(page, new Map());
    for (const id of ids) {
      places.push(place);
      viewers.push(viewer);
      posts.push(id);
    }
  }
  const { rows } = await sql<Marks & { place: number; post_id: string }>`
    SELECT * FROM (
      SELECT place, post_id, ${isLikedBy(sql`asked.viewer_id`, "asked.post_id")} AS liked_by_me,
        ${isSavedBy(sql`asked.viewer_id`, "asked.post_id")} AS saved_by_me
      FROM unnest(${places}::int[], ${viewers}::uuid[], ${posts}::uuid[]) AS asked (place, viewer_id, post_id)
    ) AS marks WHERE liked_by_me OR saved_by_me`.execute(db);
  for (const { place, post_id, ...marks } of rows) marked.get(pages[place] ?? "")?.set(post_id, marks);
  return marked;
}
