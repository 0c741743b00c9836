import { type Selectable, sql } from "kysely";
import type { Db } from "../../src/db/transaction.ts";
import { mayBeListedFor } from "../graph/index.ts";
import type { MediumRow, TakenMedium } from "../media/index.ts";
import type { StoriesTable } from "./store.ts";

/** What an account keeps, as a whole: for whoever takes it along. */

interface Page {
  limit: number;
  /** The id that the page before ended with. */
  after: string;
}

export interface KeptStory
  extends Pick<
    Selectable<StoriesTable>,
    | "id"
    | "audience"
    | "duration"
    | "status"
    | "failure_code"
    | "failure_message"
    | "view_count"
    | "kept"
    | "created_at"
    | "published_at"
    | "expires_at"
  > {
  medium: TakenMedium & Pick<MediumRow, "alt_text" | "width" | "height">;
}

/** A page of an author's stories in any state, by id: those that are there for the author, see `findOwn`. */
export async function keptStories(db: Db, userId: string, { limit, after }: Page): Promise<KeptStory[]> {
  const { rows } = await sql<KeptStory>`
    SELECT stories.id, audience, duration, status, stories.failure_code, stories.failure_message, view_count, kept,
      stories.created_at, published_at, expires_at,
      json_build_object('id', media.id, 'content_type', media.content_type, 'alt_text', media.alt_text,
        'width', media.width, 'height', media.height, 'original_kept', media.original_dropped_at IS NULL) AS medium
    FROM stories JOIN media ON media.id = stories.medium_id
    WHERE stories.user_id = ${userId}::uuid AND status <> 'removed' AND stories.id > ${after}::uuid
      AND (expires_at IS NULL OR expires_at > now() OR kept)
    ORDER BY stories.id LIMIT ${limit}`.execute(db);
  return rows;
}

export interface KeptHighlight {
  id: string;
  title: string;
  created_at: Date;
  story_ids: string[];
}

/** All highlights of an account, the oldest first. They are few. */
export async function highlightsOf(db: Db, userId: string): Promise<KeptHighlight[]> {
  const { rows } = await sql<KeptHighlight>`
    SELECT id, title, created_at, ARRAY(
      SELECT stories.id FROM highlight_stories JOIN stories ON stories.id = story_id
      WHERE highlight_id = highlights.id AND status = 'published' ORDER BY published_at, stories.id) AS story_ids
    FROM highlights WHERE user_id = ${userId}::uuid ORDER BY created_at, id`.execute(db);
  return rows;
}

export interface KeptView {
  story_id: string;
  /** Null where the viewer would not be shown the account. */
  author: { id: string; username: string; display_name: string | null } | null;
  viewed_at: Date;
  reaction: string | null;
}

/** A page of what an account has seen, by story. */
export async function viewsBy(db: Db, viewerId: string, { limit, after }: Page): Promise<KeptView[]> {
  const { rows } = await sql<KeptView>`
    SELECT story_id, viewed_at, reaction,
      CASE WHEN users.id IS NOT NULL THEN json_build_object(
        'id', users.id, 'username', users.username, 'display_name', users.display_name) END AS author
    FROM story_views LEFT JOIN stories ON stories.id = story_id
      LEFT JOIN users ON users.id = stories.user_id AND ${mayBeListedFor(viewerId)}
    WHERE viewer_id = ${viewerId}::uuid AND story_id > ${after}::uuid ORDER BY story_id LIMIT ${limit}`.execute(db);
  return rows;
}
