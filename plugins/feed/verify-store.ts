import { sql } from "kysely";
import type { Db } from "../../src/db/transaction.ts";
import { followedAuthors } from "../graph/index.ts";
import type { PublishedPosition } from "../posts/index.ts";
import { latestOf } from "./store.ts";

/**
 * What has to be in a timeline that was built when all transactions below `built` had ended, the newest first: the posts
 * of the viewer and of those who are pushed. For whom else readers of that timeline pull is in CachedFeed.
 */
export async function requiredPosts(
  db: Db,
  viewerId: string,
  options: { built: number; limit: number },
): Promise<PublishedPosition[]> {
  const authors = sql<{ id: string }>`
    ${followedAuthors(viewerId)} AND NOT EXISTS (SELECT FROM pulled_authors
      WHERE user_id = following_id AND (returned_xid IS NULL OR returned_xid >= ${String(options.built)}::xid8))
    UNION ALL SELECT ${viewerId}::uuid`;
  const { rows } = await latestOf(authors, { limit: options.limit, after: null }).execute(db);
  return rows;
}

/**
 * Which of these posts may be in the viewer's timeline: those of whom the viewer follows. That includes pulled authors,
 * who were pushed once, and the muted, whose posts are pushed too and left out by whoever reads.
 */
export async function allowedPosts(db: Db, viewerId: string, postIds: readonly string[]): Promise<PublishedPosition[]> {
  const { rows } = await sql<PublishedPosition>`
    SELECT id, published_at FROM posts
    WHERE id = ANY(${postIds}::uuid[]) AND status = 'published' AND (user_id = ${viewerId}::uuid OR EXISTS (
      SELECT FROM follows WHERE follower_id = ${viewerId}::uuid AND following_id = posts.user_id))`.execute(db);
  return rows;
}

/** Which of these posts are still being pushed, or taken out. */
export async function fanningOut(db: Db, postIds: readonly string[]): Promise<Set<string>> {
  const { rows } = await sql<{ id: string }>`
    SELECT DISTINCT data->>'post_id' AS id FROM pgboss.job
    WHERE name = 'feed.fan_out' AND state IN ('created', 'retry', 'active')
      AND data->>'post_id' = ANY(${postIds}::text[])`.execute(db);
  return new Set(rows.map(({ id }) => id));
}

/** The names of those of these accounts that are there. */
export async function namesOf(db: Db, ids: readonly string[]): Promise<Map<string, string>> {
  const rows = await db.selectFrom("users").select(["id", "username"]).where("id", "in", ids).execute();
  return new Map(rows.map(({ id, username }) => [id, username]));
}
