import { type Generated, type RawBuilder, type Selectable, sql } from "kysely";
import type { Db, Tx } from "../../src/db/transaction.ts";
import type { Position } from "../../src/http/paging.ts";
import type { UserRow } from "../accounts/index.ts";
import { isStoryFor } from "../graph/index.ts";
import type { Failure, MediumRow, ShownMedium } from "../media/index.ts";

/** Of those who may see what the author shares: all, or those on the author's list of close friends. */
export type Audience = "everyone" | "close_friends";

export interface StoriesTable {
  id: string;
  user_id: string;
  medium_id: string | null;
  audience: Audience;
  duration: number | null;
  status: "processing" | "published" | "failed" | "removed";
  failure_code: string | null;
  failure_message: string | null;
  failed_at: Date | null;
  view_count: Generated<number>;
  created_at: Generated<Date>;
  published_at: Date | null;
  expires_at: Date | null;
  kept: Generated<boolean>;
  highlighted: Generated<boolean>;
}

declare module "../../src/db/schema.ts" {
  interface Schema {
    stories: StoriesTable;
  }
}

/** A story with all that is shown of it. */
export interface StoryRow
  extends Pick<
    Selectable<StoriesTable>,
    "id" | "audience" | "duration" | "failure_code" | "failure_message" | "created_at" | "published_at" | "expires_at"
  > {
  status: Exclude<StoriesTable["status"], "removed">;
  author: UserRow;
  medium: ShownMedium;
  /** Whether the viewer has seen it. */
  seen: boolean;
  /** The viewer's own. */
  my_reaction: string | null;
  /** Null for others than its author. */
  view_count: number | null;
  /** Null as above, and before it is published. */
  kept: boolean | null;
}

/** A story that was published. */
export type PublishedRow = StoryRow & { published_at: Date };

/** What its author's routes need of a story. */
export type OwnStory = Pick<StoryRow, "id" | "status"> & { medium_id: string; view_count: number };

export async function insertStory(
  tx: Tx,
  story: Pick<StoriesTable, "id" | "user_id" | "audience" | "duration"> & { medium_id: string },
): Promise<void> {
  await tx
    .insertInto("stories")
    .values({ ...story, status: "processing" })
    .execute();
}

/** What is shown of the stories of a query, which has `stories`, their authors as `users`, and their `media`. */
export function shownStory(viewerId: string): RawBuilder<unknown> {
  return sql`stories.id, stories.audience, stories.duration, stories.status, stories.failure_code, stories.failure_message,
    stories.created_at, stories.published_at, stories.expires_at,
    json_build_object('id', users.id, 'username', users.username, 'display_name', users.display_name,
      'is_private', users.is_private, 'avatar_id', users.avatar_id) AS author,
    json_build_object('id', media.id, 'state', media.state, 'alt_text', media.alt_text,
      'width', media.width, 'height', media.height, 'thumbhash', media.thumbhash) AS medium,
    users.id = ${viewerId}::uuid OR EXISTS (
      SELECT FROM story_views WHERE story_id = stories.id AND viewer_id = ${viewerId}::uuid) AS seen,
    (SELECT reaction FROM story_views WHERE story_id = stories.id AND viewer_id = ${viewerId}::uuid) AS my_reaction,
    CASE WHEN users.id = ${viewerId}::uuid THEN stories.view_count END AS view_count,
    CASE WHEN users.id = ${viewerId}::uuid AND stories.status = 'published' THEN stories.kept END AS kept`;
}

/** The story, if it is for the viewer and not over; the viewer's own also before it is published. */
export async function findStory(db: Db, viewerId: string, id: string): Promise<StoryRow | undefined> {
  const { rows } = await sql<StoryRow>`
    SELECT ${shownStory(viewerId)}
    FROM stories JOIN users ON users.id = stories.user_id JOIN media ON media.id = stories.medium_id
    WHERE stories.id = ${id}::uuid AND ${isStoryFor(viewerId)} AND (
      (stories.status = 'published' AND stories.expires_at > now())
      OR (stories.status IN ('processing', 'failed') AND stories.user_id = ${viewerId}::uuid))`.execute(db);
  return rows[0];
}

/** One page of an author's stories that are for the viewer and not over, in the order in which they are to be seen: the oldest first. */
export async function listStories(
  db: Db,
  viewerId: string,
  { authorId, limit, after }: { authorId: string; limit: number; after: Position | null },
): Promise<PublishedRow[]> {
  const { rows } = await sql<PublishedRow>`
    SELECT ${shownStory(viewerId)}
    FROM stories JOIN users ON users.id = stories.user_id JOIN media ON media.id = stories.medium_id
    WHERE stories.user_id = ${authorId}::uuid AND stories.status = 'published' AND stories.expires_at > now()
      AND ${isStoryFor(viewerId)}
      ${after ? sql`AND (stories.published_at, stories.id) > (${after.at}, ${after.id}::uuid)` : sql``}
    ORDER BY stories.published_at, stories.id LIMIT ${limit}`.execute(db);
  return rows;
}

/** The viewer's own story in any state, also when it is over and kept. */
export async function findOwn(db: Db, viewerId: string, id: string): Promise<OwnStory | undefined> {
  const { rows } = await sql<OwnStory>`
    SELECT id, status, medium_id, view_count FROM stories
    WHERE id = ${id}::uuid AND user_id = ${viewerId}::uuid AND status <> 'removed'
      AND (expires_at IS NULL OR expires_at > now() OR kept)`.execute(db);
  return rows[0];
}

/** The story of a medium, held against every other change until the transaction ends. */
export async function lockStoryOfMedium(
  tx: Tx,
  mediumId: string,
): Promise<Pick<Selectable<StoriesTable>, "id" | "user_id" | "status"> | undefined> {
  return tx
    .selectFrom("stories")
    .select(["id", "user_id", "status"])
    .where("medium_id", "=", mediumId)
    .forUpdate()
    .executeTakeFirst();
}

/** A story that is not in step with its picture, and its place among those. */
export interface Unsettled {
  medium_id: string;
  id: string;
  at: Date;
}

/** Media that are processed, one way or the other, and whose stories do not show it; those uploaded first, `limit` at most. */
export async function unsettledMedia(
  db: Db,
  { limit, after }: { limit: number; after: Unsettled | null },
): Promise<Unsettled[]> {
  const { rows } = await sql<Unsettled>`
    SELECT media.id AS medium_id, stories.id, stories.created_at AS at FROM stories JOIN media ON media.id = stories.medium_id
    WHERE stories.status <> 'published' AND stories.status <> 'removed'
      AND (media.state = 'ready' OR (media.state = 'failed' AND stories.status = 'processing'))
      ${after ? sql`AND (stories.created_at, stories.id) > (${after.at}, ${after.id}::uuid)` : sql``}
    ORDER BY stories.created_at, stories.id LIMIT ${limit}`.execute(db);
  return rows;
}

/** The medium, held against every other change until the transaction ends. */
export async function lockMediumToSettle(
  tx: Tx,
  mediumId: string,
): Promise<Pick<MediumRow, "state" | "failure_code" | "failure_message"> | undefined> {
  return tx
    .selectFrom("media")
    .select(["state", "failure_code", "failure_message"])
    .where("id", "=", mediumId)
    .forUpdate()
    .executeTakeFirst();
}

export async function lockStory(tx: Tx, id: string): Promise<Pick<Selectable<StoriesTable>, "status"> | undefined> {
  return tx
    .selectFrom("stories")
    .select("status")
    .where("id", "=", id)
    .where("status", "<>", "removed")
    .forUpdate()
    .executeTakeFirst();
}

/**
 * The times are of this statement and not of the transaction's beginning. Whether it is kept is what its author wants now; the
 * caller holds the account, so that who changes that comes before it or finds it published. @param lifetime milliseconds.
 */
export async function markPublished(
  tx: Tx,
  id: string,
  lifetime: number,
): Promise<{ published_at: Date; expires_at: Date }> {
  const { rows } = await sql<{ published_at: Date; expires_at: Date }>`
    UPDATE stories SET status = 'published', failure_code = NULL, failure_message = NULL, failed_at = NULL,
      published_at = moment.now, expires_at = moment.now + ${lifetime} * interval '1 millisecond',
      kept = coalesce((SELECT keep_archive FROM story_settings WHERE user_id = stories.user_id), false)
    FROM (SELECT date_trunc('milliseconds', clock_timestamp()) AS now) AS moment
    WHERE id = ${id}::uuid RETURNING published_at, expires_at`.execute(tx);
  if (!rows[0]) throw new Error("the story is held");
  return rows[0];
}

export async function markFailed(tx: Tx, id: string, failure: Failure): Promise<void> {
  await tx
    .updateTable("stories")
    .set({
      status: "failed",
      failure_code: failure.code,
      failure_message: failure.message,
      failed_at: sql<Date>`clock_timestamp()`,
    })
    .where("id", "=", id)
    .execute();
}

/** From here on it is there for nobody; a job removes the rest. */
export async function markRemoved(tx: Tx, id: string): Promise<void> {
  await tx.updateTable("stories").set({ status: "removed", medium_id: null }).where("id", "=", id).execute();
}
