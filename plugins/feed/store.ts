import { sql } from "kysely";
import type { Db } from "../../src/db/transaction.ts";
import type { Position } from "../../src/http/paging.ts";
import { feedAuthors } from "../graph/index.ts";
import type { PublishedPosition } from "../posts/index.ts";

/**
 * One page of the posts of those whom the viewer follows and has not muted, and of the viewer, latest first.
 *
 * A page of `limit` posts has at most `limit` authors: those whose latest posts (older than `after`) are the latest. So one
 * post of each followed account is looked up, and a page only of the few that can be on it. Both are descents of
 * posts_timeline_idx, which holds all that is asked for: a page costs the same however deep it is and however busy or
 * rare the authors are.
 *
 * What lost: a page of each followed account, which reads as many index pages, but takes half as long again, and 4.9 times
 * the buffers when a fifth of the posts came after the last VACUUM, each of them then looked up in the table. A plain join
 * in the order of time is quick for busy accounts and reads half the table for rare ones. Plans: docs/feed-plans.md.
 */
export async function feedPage(
  db: Db,
  viewerId: string,
  { limit, after }: { limit: number; after: Position | null },
): Promise<PublishedPosition[]> {
  const older = after ? sql`AND (published_at, id) < (${after.at}, ${after.id}::uuid)` : sql``;
  // MATERIALIZED keeps the plan's shape whatever the statistics say: accounts outside, descents inside.
  const { rows } = await sql<PublishedPosition>`
    WITH accounts AS MATERIALIZED (
      ${feedAuthors(viewerId)}
    ), authors AS MATERIALIZED (
      SELECT accounts.id FROM accounts
      CROSS JOIN LATERAL (
        SELECT id, published_at FROM posts
        WHERE user_id = accounts.id AND status = 'published' ${older}
        ORDER BY published_at DESC, id DESC LIMIT 1
      ) AS latest
      ORDER BY latest.published_at DESC, latest.id DESC LIMIT ${limit}
    )
    SELECT post.id, post.published_at FROM authors
    CROSS JOIN LATERAL (
      SELECT id, published_at FROM posts
      WHERE user_id = authors.id AND status = 'published' ${older}
      ORDER BY published_at DESC, id DESC LIMIT ${limit}
    ) AS post
    ORDER BY post.published_at DESC, post.id DESC LIMIT ${limit}`.execute(db);
  return rows;
}
