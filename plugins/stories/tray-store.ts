import { sql } from "kysely";
import { PG_SNAPSHOT } from "../../src/db/snapshot.ts";
import type { Db } from "../../src/db/transaction.ts";
import type { UserRow } from "../accounts/index.ts";
import { followedAuthors, isStoryFor } from "../graph/index.ts";

/** An author in the tray, as JSON has it. */
export interface TrayEntry {
  user: UserRow;
  latest_story_at: string;
  has_unseen: boolean;
  /** Stories that are for the viewer and not over; MOST_COUNTED at most. */
  count: number;
}

export interface TrayRead {
  /** `pg_current_snapshot()` of the statement. */
  snapshot: string;
  entries: TrayEntry[];
  /** Milliseconds from the statement's beginning until the first of the stories is over; null where there are none. */
  over_in: number | null;
}

/** Authors in a tray. */
export const MOST_AUTHORS = 500;
/** An author's stories that are counted, those first that are over last. */
export const MOST_COUNTED = 100;

/**
 * The viewer's tray: oneself, then authors with something unseen, then those with the latest stories; between equals the
 * higher id.
 *
 * Of each followed account one descent of stories_active_idx tells whether it has a story that is not over, and only of those
 * that have one their stories, accounts and the viewer's views are looked up. What is over lies before the place at which
 * such a descent begins, so it costs nothing however much of it was not cleaned up; views are looked up by primary key,
 * so neither do those of other stories. Of an author who has more than are counted it asks besides which is over first, and
 * whether any is unseen: that ends at the first, and so passes over no more than the viewer has seen. MATERIALIZED and LIMIT
 * keep the plan's shape whatever the statistics say. Plans: docs/story-plans.md.
 */
export async function readTray(db: Db, viewerId: string): Promise<TrayRead> {
  const active = sql`status = 'published' AND expires_at > now()`;
  const ofAuthor = sql`FROM stories WHERE user_id = users.id AND ${active} AND ${isStoryFor(viewerId)}`;
  // A subquery that gives a value, and no EXISTS: that might be answered from all that the viewer has ever seen.
  const unseen = sql`(SELECT true FROM story_views WHERE story_id = stories.id AND viewer_id = ${viewerId}::uuid) IS NULL`;
  const { rows } = await sql<TrayRead>`
    WITH authors AS MATERIALIZED (
      SELECT candidates.id FROM (${followedAuthors(viewerId)} UNION ALL SELECT ${viewerId}::uuid) AS candidates
      CROSS JOIN LATERAL (
        SELECT FROM stories WHERE user_id = candidates.id AND ${active} ORDER BY expires_at DESC LIMIT 1
      ) AS any_story
    ), entries AS (
      SELECT users.id, users.username, users.display_name, users.is_private, users.avatar_id, shown.*
      FROM authors CROSS JOIN LATERAL (SELECT * FROM users WHERE id = authors.id LIMIT 1) AS users
      CROSS JOIN LATERAL (
        SELECT count(*)::int AS count, max(published_at) AS latest_story_at,
          CASE WHEN count(*) < ${MOST_COUNTED} THEN min(expires_at)
            ELSE (SELECT expires_at ${ofAuthor} ORDER BY expires_at LIMIT 1) END AS first_over_at,
          CASE WHEN users.id = ${viewerId}::uuid THEN false WHEN bool_or(unseen) THEN true WHEN count(*) < ${MOST_COUNTED} THEN false
            ELSE (SELECT true ${ofAuthor} AND ${unseen} ORDER BY expires_at DESC LIMIT 1) IS NOT NULL END AS has_unseen
        FROM (
          SELECT published_at, expires_at, ${unseen} AS unseen ${ofAuthor}
          ORDER BY expires_at DESC, published_at DESC, stories.id DESC LIMIT ${MOST_COUNTED}
        ) AS stories
      ) AS shown
      WHERE count > 0
      ORDER BY users.id = ${viewerId}::uuid DESC, has_unseen DESC, latest_story_at DESC, users.id DESC LIMIT ${MOST_AUTHORS}
    )
    SELECT ${PG_SNAPSHOT} AS snapshot,
      (extract(epoch FROM min(first_over_at) - now()) * 1000)::float8 AS over_in,
      coalesce(json_agg(json_build_object(
        'user', json_build_object('id', id, 'username', username, 'display_name', display_name,
          'is_private', is_private, 'avatar_id', avatar_id),
        'latest_story_at', latest_story_at, 'has_unseen', has_unseen, 'count', count
      ) ORDER BY id = ${viewerId}::uuid DESC, has_unseen DESC, latest_story_at DESC, id DESC), '[]') AS entries
    FROM entries`.execute(db);
  if (!rows[0]) throw new Error("an aggregate gives a row");
  return rows[0];
}
