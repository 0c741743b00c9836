import { sql } from "kysely";
import type { Db } from "../../src/db/transaction.ts";
import type { Position } from "../../src/http/paging.ts";
import type { PublishedPosition } from "../posts/index.ts";

/**
 * One page of the posts of those whom the viewer follows, and of the viewer, latest first.
 *
 * A LATERAL per followed account takes at most a page from its own part of posts_timeline_idx, and from the index
 * alone; a page then costs the same however deep it is and however rarely those accounts post. One scan of all posts in the
 * order of time, which a plain join makes, is quick for busy accounts and reads half the table for rare ones. Plans: docs/architecture.md.
 */
export async function feedPage(
  db: Db,
  viewerId: string,
  { limit, after }: { limit: number; after: Position | null },
): Promise<PublishedPosition[]> {
  const { rows } = await sql<PublishedPosition>`
    WITH authors AS MATERIALIZED (
      SELECT following_id AS id FROM follows WHERE follower_id = ${viewerId}
      UNION ALL SELECT ${viewerId}::uuid
    ), page AS MATERIALIZED (
      SELECT latest.id, latest.published_at FROM authors
      CROSS JOIN LATERAL (
        SELECT id, published_at FROM posts
        WHERE user_id = authors.id AND status = 'published'
          ${after ? sql`AND (published_at, id) < (${after.at}, ${after.id}::uuid)` : sql``}
        ORDER BY published_at DESC, id DESC LIMIT ${limit}
      ) AS latest
      ORDER BY latest.published_at DESC, latest.id DESC LIMIT ${limit}
    )
    SELECT id, published_at FROM page ORDER BY published_at DESC, id DESC`.execute(db);
  return rows;
}
