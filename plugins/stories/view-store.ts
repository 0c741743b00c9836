import { sql } from "kysely";
import { type BoundedPage, boundedPage } from "../../src/db/bounded-page.ts";
import { PG_SNAPSHOT } from "../../src/db/snapshot.ts";
import type { Db, Tx } from "../../src/db/transaction.ts";
import type { Position } from "../../src/http/paging.ts";
import { USER_COLUMNS, type UserRow } from "../accounts/index.ts";
import { isStoryFor, mayBeListedFor } from "../graph/index.ts";

/** Who looks at which story. */
export interface ViewPair {
  story_id: string;
  viewer_id: string;
}

/** A pair whose story is shown to the viewer; of others there is nothing to tell. */
export interface RecordedView extends ViewPair {
  expires_at: Date;
  /** Of one's own story, which is seen and not counted. */
  own: boolean;
  /** The viewer had not seen it, and has now. */
  new_view: boolean;
  /** Nothing was recorded, since somebody holds the viewer's account: to be asked again when it is free. */
  viewer_held: boolean;
  /** What the statement saw, and a moment after it began by the database's clock. */
  snapshot: string;
  read_at: Date;
  /** The transaction that wrote it; null where nothing was written. */
  xid: string | null;
}

/**
 * Records the views of these pairs, each once, in one statement, which commits by itself where it is in no transaction.
 * A view is there exactly if it is counted.
 *
 * Only stories with views that are new are held, in the order of their ids, and then the viewers, who may just be deleted:
 * what only repeats waits for nobody and writes nothing. Nor does a viewer whose account is held keep the others waiting, here or
 * for the stories. Who may see what is asked of the statement's snapshot. Whether a story was removed, or is over, is asked once
 * more behind all locks, so that none gets views while it is taken apart, or after its end.
 *
 * OFFSET 0 has each pair asked by itself. In one join of all, the rule becomes a walk over all whom the author blocks for each pair
 * (4 s for 500 viewers of somebody who blocks 3,000), or a hash of whole tables.
 */
export async function recordViews(db: Db, pairs: readonly ViewPair[]): Promise<RecordedView[]> {
  const stories = pairs.map(({ story_id }) => story_id);
  const viewers = pairs.map(({ viewer_id }) => viewer_id);
  const { rows } = await sql<RecordedView>`
    WITH asked AS (
      SELECT story_id, viewer_id FROM unnest(${stories}::uuid[], ${viewers}::uuid[]) AS asked (story_id, viewer_id)
    ), shown AS MATERIALIZED (
      SELECT asked.story_id, asked.viewer_id, found.* FROM asked CROSS JOIN LATERAL (
        SELECT stories.expires_at, users.id = asked.viewer_id AS own, users.id <> asked.viewer_id AND NOT EXISTS (
          SELECT FROM story_views WHERE story_views.story_id = stories.id AND story_views.viewer_id = asked.viewer_id) AS unseen
        FROM stories JOIN users ON users.id = stories.user_id
        JOIN users AS viewer ON viewer.id = asked.viewer_id AND viewer.state = 'active'
        WHERE stories.id = asked.story_id AND stories.status = 'published' AND stories.expires_at > now()
          AND ${isStoryFor(sql<string>`asked.viewer_id`)} OFFSET 0
      ) AS found
    ), held AS MATERIALIZED (
      SELECT id, expires_at FROM stories
      WHERE id = ANY (ARRAY(SELECT story_id FROM shown WHERE unseen)) AND status = 'published' AND expires_at > now()
      ORDER BY id FOR NO KEY UPDATE
    ), viewers AS MATERIALIZED (
      SELECT id FROM users
      WHERE id = ANY (ARRAY(SELECT viewer_id FROM shown JOIN held ON held.id = shown.story_id WHERE unseen)) AND state = 'active'
      ORDER BY id FOR KEY SHARE SKIP LOCKED
    ), locked AS MATERIALIZED (
      SELECT story_id, viewer_id, held.expires_at, viewers.id IS NULL AS viewer_held
      FROM shown JOIN held ON held.id = story_id LEFT JOIN viewers ON viewers.id = viewer_id
      WHERE unseen
    ), allowed AS MATERIALIZED (
      SELECT story_id, viewer_id, viewer_held FROM locked WHERE expires_at > clock_timestamp()
    ), made AS (
      INSERT INTO story_views (story_id, viewer_id) SELECT story_id, viewer_id FROM allowed WHERE NOT viewer_held
      ON CONFLICT DO NOTHING RETURNING story_id, viewer_id
    ), counted AS (
      UPDATE stories SET view_count = view_count + new.views
      FROM (SELECT story_id, count(*)::int AS views FROM made GROUP BY story_id) AS new WHERE stories.id = new.story_id
    )
    SELECT shown.story_id, shown.viewer_id, expires_at, own, made.viewer_id IS NOT NULL AS new_view,
      coalesce(viewer_held, false) AS viewer_held,
      ${PG_SNAPSHOT} AS snapshot, clock_timestamp() AS read_at,
      pg_current_xact_id_if_assigned()::text AS xid
    FROM shown LEFT JOIN allowed USING (story_id, viewer_id) LEFT JOIN made USING (story_id, viewer_id)
    WHERE NOT unseen OR allowed.viewer_id IS NOT NULL`.execute(db);
  return rows;
}

/** Returns when nobody holds the account who might delete it: see `viewer_held`. */
export async function untilFree(db: Db, accountId: string): Promise<void> {
  await sql`SELECT FROM users WHERE id = ${accountId}::uuid FOR KEY SHARE`.execute(db);
}

/** @param reaction one emoji, or null. @returns whether there is a view of them to react to, of a story that was not removed. */
export async function setReaction(
  db: Db,
  { story_id, viewer_id }: ViewPair,
  reaction: string | null,
): Promise<boolean> {
  const { numAffectedRows } = await sql`
    UPDATE story_views SET reaction = ${reaction}
    WHERE story_id = ${story_id}::uuid AND viewer_id = ${viewer_id}::uuid
      AND EXISTS (SELECT FROM stories WHERE id = story_id AND status <> 'removed')`.execute(db);
  return numAffectedRows === 1n;
}

export type StoryViewer = UserRow & { viewed_at: Date; reaction: string | null };

/** One page of those who have seen a story, latest first, of those whom its author may be shown. */
export function listViewers(
  db: Db,
  authorId: string,
  { storyId, ...page }: { storyId: string; limit: number; after: Position | null },
): Promise<BoundedPage<StoryViewer>> {
  return boundedPage(
    db,
    {
      from: sql`story_views WHERE story_id = ${storyId}::uuid`,
      columns: sql`viewer_id, viewed_at`,
      at: "viewed_at",
      id: "viewer_id",
      seen: sql`JOIN users ON users.id = entries.viewer_id WHERE ${mayBeListedFor(authorId)}`,
      page: sql`${sql.join(USER_COLUMNS.map((name) => sql.ref(name)))}, entries.viewer_id, entries.viewed_at`,
      shown: sql`page.*, (SELECT reaction FROM story_views
        WHERE story_id = ${storyId}::uuid AND story_views.viewer_id = page.viewer_id) AS reaction`,
    },
    page,
  );
}

/** Some of the stories of an author, or of several, that are not over, by id: those after `after`. */
export async function activeStories(
  tx: Tx,
  authorIds: readonly string[],
  { privateOnly, after, limit }: { privateOnly: boolean; after: string; limit: number },
): Promise<string[]> {
  const { rows } = await sql<{ id: string }>`
    SELECT stories.id FROM stories JOIN users ON users.id = stories.user_id
    WHERE stories.user_id = ANY (${authorIds}::uuid[]) AND stories.status = 'published' AND stories.expires_at > now()
      AND stories.id > ${after}::uuid ${privateOnly ? sql`AND users.is_private` : sql``}
    ORDER BY stories.id LIMIT ${limit}`.execute(tx);
  return rows.map(({ id }) => id);
}
