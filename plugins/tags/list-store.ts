import { type RawBuilder, sql } from "kysely";
import { type BoundedPage, boundedPage } from "../../src/db/bounded-page.ts";
import type { Db } from "../../src/db/transaction.ts";
import type { Position, RankedPosition } from "../../src/http/paging.ts";
import { mayBeSeenBy } from "../graph/index.ts";

/** One page of the posts with a tag that the viewer may see, latest first. */
export function listTagged(
  db: Db,
  viewerId: string,
  tag: string,
  page: { limit: number; after: Position | null },
): Promise<BoundedPage<Position>> {
  return boundedPage(
    db,
    {
      from: sql`post_tags WHERE tag = ${tag}`,
      columns: sql`post_id, author_id, published_at`,
      at: "published_at",
      id: "post_id",
      seen: sql`JOIN users ON users.id = author_id WHERE ${mayBeSeenBy(viewerId)}`,
      page: sql`entries.*`,
      shown: sql`page.published_at AS at, page.post_id AS id`,
    },
    page,
  );
}

export type FoundTag = RankedPosition & { tag: string; post_count: number };

/** Candidates of a search from each of two orders: the most used, and the first by name, which new ones are among. */
const MOST_USED = 20;
const FIRST_BY_NAME = 20;
/** Of the tags that share three letters, the most used: as many are asked for a longer beginning. */
const SHARED_BEGINNING = 1_000;
/** Latest posts of a tag that are looked at. That many is the highest `post_count`. */
export const POSTS_COUNTED = 50;
/**
 * Tags that begin with `prefix`, by how many of their latest 50 posts the viewer may see, and those of which that is
 * all 50 by their uses, in powers of two: a cursor holds the rank, and uses count posts that the viewer may not see. A tag of
 * which that is none is not found: its posts are nobody's to know of. Whatever the number of posts, 40 tags and 2,000 posts
 * are looked at: plans are in docs/comment-plans.md.
 */
export async function findTags(
  db: Db,
  viewerId: string,
  prefix: string,
  { limit, after }: { limit: number; after: RankedPosition | null },
): Promise<FoundTag[]> {
  const behind = sql`tag < ${prefix} || U&'\\+10FFFF'`;
  const { rows } = await sql<FoundTag>`
    WITH RECURSIVE named (tag, nth) AS (
      (SELECT tag, 1 FROM post_tags WHERE tag >= ${prefix} AND ${behind} ORDER BY tag LIMIT 1)
      UNION ALL
      SELECT next.tag, nth + 1 FROM named CROSS JOIN LATERAL (
        SELECT tag FROM post_tags WHERE tag > named.tag AND ${behind} ORDER BY tag LIMIT 1
      ) AS next WHERE nth < ${FIRST_BY_NAME}
    ), candidates AS MATERIALIZED (
      SELECT tag FROM named UNION (${mostUsed(prefix)})
    ), looked_at AS MATERIALIZED (
      SELECT candidates.tag, author_id, count(*) AS posts FROM candidates CROSS JOIN LATERAL (
        SELECT post_id, author_id FROM post_tags WHERE post_tags.tag = candidates.tag
        ORDER BY published_at DESC, post_id DESC LIMIT ${POSTS_COUNTED}
      ) AS latest CROSS JOIN LATERAL (SELECT FROM posts WHERE posts.id = post_id OFFSET 0) AS there GROUP BY candidates.tag, author_id
    ), seen AS MATERIALIZED (
      SELECT users.id FROM (SELECT DISTINCT author_id FROM looked_at) AS authors
      CROSS JOIN LATERAL (SELECT id FROM users WHERE id = author_id AND ${mayBeSeenBy(viewerId)} OFFSET 0) AS users
    ), counted AS (
      SELECT tag, sum(posts)::int AS post_count FROM looked_at JOIN seen ON seen.id = author_id GROUP BY tag
    ), ranked AS (
      SELECT tag, post_count, md5(tag)::uuid AS id, CASE WHEN post_count < ${POSTS_COUNTED} THEN post_count
        ELSE ${POSTS_COUNTED} + coalesce((SELECT floor(log(2, uses))::int FROM tags WHERE tags.tag = counted.tag AND uses > 0), 0) END AS rank
      FROM counted
    )
    SELECT tag, post_count, rank, id FROM ranked
    ${after ? sql`WHERE (rank, id) < (${after.rank}, ${after.id}::uuid)` : sql``}
    ORDER BY rank DESC, id DESC LIMIT ${limit}`.execute(db);
  return rows;
}

function mostUsed(prefix: string): RawBuilder<unknown> {
  const points = [...prefix];
  const indexed = points.slice(0, 3);
  const shared = sql`SELECT tag, uses FROM tags
    WHERE left(tag, ${sql.lit(indexed.length)}) = ${indexed.join("")} ORDER BY uses DESC, tag`;
  if (points.length <= 3) return sql`SELECT tag FROM (${shared} LIMIT ${MOST_USED}) AS used`;
  return sql`SELECT tag FROM (${shared} LIMIT ${SHARED_BEGINNING}) AS shared
    WHERE tag ^@ ${prefix} ORDER BY uses DESC, tag LIMIT ${MOST_USED}`;
}
