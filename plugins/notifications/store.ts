import { type RawBuilder, sql } from "kysely";
import type { Db, Tx } from "../../src/db/transaction.ts";
import type { Position } from "../../src/http/paging.ts";
import { USER_COLUMNS, type UserRow } from "../accounts/index.ts";
import { mayBeListedFor, mayBeSeenBy } from "../graph/index.ts";
import { type CountedActor, dropWithoutComments, settleRemoved } from "./fold-store.ts";
import type { NotificationsTable } from "./tables.ts";
import { ACTORS_SHOWN } from "./types.ts";

/** A notification as it is shown. */
export interface NotificationRow
  extends Pick<NotificationsTable, "id" | "type" | "post_id" | "comment_id" | "created_at" | "updated_at"> {
  actor_count: number;
  actors: UserRow[];
  read: boolean;
  /** Where the latest of all stands, if the person has not been shown the list since; see `setShown`. */
  newly_shown_at: Date | null;
}

/**
 * One page of a person's notifications, the latest first. What is counted, and in which place, was written by folds; whether
 * the post of another may be seen is asked now, because privacy and follows come and go.
 */
export async function listNotifications(
  db: Db,
  userId: string,
  { limit, after }: { limit: number; after: Position | null },
): Promise<NotificationRow[]> {
  const { rows } = await sql<NotificationRow>`
    SELECT page.id, page.type, page.post_id, page.actor_count, page.created_at, page.updated_at,
           page.updated_at <= ${readUpTo(userId)} AS read, actors.actors,
           (SELECT last_at FROM notification_inboxes
            WHERE user_id = ${userId} AND (shown_at IS NULL OR shown_at < last_at)) AS newly_shown_at,
           coalesce(page.comment_id, (
             SELECT comment_id FROM notification_comments
             WHERE notification_id = page.id AND actor_id = actors.latest_id ORDER BY at DESC, comment_id DESC LIMIT 1
           )) AS comment_id
    FROM (
      SELECT notifications.* FROM notifications
      WHERE user_id = ${userId} AND actor_count > 0 AND ${postMayBeSeenBy(userId)}
        ${after ? sql`AND (updated_at, id) < (${after.at}, ${after.id}::uuid)` : sql``}
      ORDER BY updated_at DESC, id DESC LIMIT ${limit}
    ) AS page
    CROSS JOIN LATERAL (
      SELECT coalesce(json_agg(json_build_object('id', id, 'username', username, 'display_name', display_name,
               'is_private', is_private, 'avatar_id', avatar_id) ORDER BY at DESC, id DESC), '[]') AS actors,
             (array_agg(id ORDER BY at DESC, id DESC))[1] AS latest_id
      FROM (
        SELECT ${sql.join(USER_COLUMNS.map((name) => sql.ref(name)))}, actor.at
        FROM notification_actors AS actor JOIN users ON users.id = actor.actor_id
        WHERE actor.notification_id = page.id AND actor.counted AND ${mayBeListedFor(userId)}
        ORDER BY actor.at DESC, actor.actor_id DESC LIMIT ${ACTORS_SHOWN}
      ) AS shown
    ) AS actors
    ORDER BY page.updated_at DESC, page.id DESC`.execute(db);
  return rows;
}

/**
 * How many the list shows unread. Whether another's post may be seen is asked once an author: of a hundred thousand unread
 * ones the rest is one walk through an index.
 */
export async function countUnread(db: Db, userId: string): Promise<number> {
  const { rows } = await sql<{ unread: number }>`
    SELECT coalesce(sum(unread), 0)::integer AS unread FROM (
      SELECT post_author_id, count(*) AS unread FROM notifications
      WHERE user_id = ${userId} AND actor_count > 0 AND updated_at > ${readUpTo(userId)}
      GROUP BY post_author_id
    ) AS notifications
    WHERE ${postMayBeSeenBy(userId)}`.execute(db);
  return rows[0]?.unread ?? 0;
}

/**
 * Where a notification stood in the list when the person last saw it: by what was done until then and still counts, and so
 * above nothing that was not shown.
 * @returns null for one that nothing is left of as it was shown; undefined for one that is not in the list.
 */
export async function placeOf(db: Db, userId: string, id: string): Promise<Date | null | undefined> {
  const { rows } = await sql<{ place: Date | null }>`
    SELECT CASE WHEN shown_at IS NULL OR updated_at <= shown_at THEN updated_at ELSE greatest(
             (SELECT at FROM notification_actors
              WHERE notification_id = notifications.id AND counted AND at <= shown_at ORDER BY at DESC LIMIT 1),
             (SELECT max(comment.at) FROM notification_comments AS comment
              JOIN notification_actors AS actor USING (notification_id, actor_id)
              WHERE notification_id = notifications.id AND counted AND comment.at <= shown_at)) END AS place
    FROM notifications JOIN notification_inboxes USING (user_id)
    WHERE id = ${id} AND user_id = ${userId} AND actor_count > 0 AND ${postMayBeSeenBy(userId)}`.execute(db);
  return rows[0]?.place;
}

function readUpTo(userId: string): RawBuilder<Date> {
  return sql`coalesce((SELECT read_at FROM notification_inboxes WHERE user_id = ${userId}), to_timestamp(0))`;
}

/**
 * Of a row of `notifications`: one's own posts are always seen, those of others as anywhere. OFFSET 0 keeps it a lookup by id:
 * whoever has a hundred thousand notifications had all accounts of the server read into a hash first, in 400 ms a page.
 */
function postMayBeSeenBy(userId: string): RawBuilder<boolean> {
  return sql`(notifications.post_author_id IS NULL OR EXISTS (
    SELECT FROM users AS owner
    WHERE owner.id = notifications.post_author_id AND ${mayBeSeenBy(userId, "owner")} OFFSET 0))`;
}

/** A page of those who keep something from before `before`, by id. */
export async function peopleWithOld(db: Db, before: Date, after: string, limit: number): Promise<string[]> {
  const { rows } = await sql<{ user_id: string }>`
    SELECT user_id FROM notifications WHERE created_at < ${before} AND user_id > ${after}
    GROUP BY user_id ORDER BY user_id LIMIT ${limit}`.execute(db);
  return rows.map((row) => row.user_id);
}

/**
 * Removes some of a person's actors, and comments, from before `before`; a notification that has none left goes with them, and
 * one that has is from its oldest. The inbox is held.
 * @returns whether there may be more.
 */
export async function removeSomeOld(
  tx: Tx,
  userId: string,
  { before, groups, actors }: { before: Date; groups: number; actors: number },
): Promise<boolean> {
  const found = await tx
    .selectFrom("notifications")
    .select("id")
    .where("user_id", "=", userId)
    .where("created_at", "<", before)
    .limit(groups)
    .execute();
  const ids = found.map(({ id }) => id);
  const old = (table: string) => sql`
    (SELECT ctid FROM ${sql.table(table)} WHERE notification_id = ANY(${ids}::uuid[]) AND at < ${before} LIMIT ${actors})`;
  const comments = await sql<{ notification_id: string; actor_id: string }>`
    DELETE FROM notification_comments WHERE ctid = ANY(ARRAY${old("notification_comments")})
    RETURNING notification_id, actor_id`.execute(tx);
  const silent = await dropWithoutComments(tx, comments.rows);
  const gone = await sql<CountedActor>`
    DELETE FROM notification_actors WHERE ctid = ANY(ARRAY${old("notification_actors")})
    RETURNING notification_id, actor_id, counted`.execute(tx);
  await settleRemoved(tx, [...silent, ...gone.rows]);
  if (comments.rows.length === actors || gone.rows.length === actors) return true;
  await sql`
    UPDATE notifications
    SET created_at = (SELECT greatest(min(at), ${before}) FROM notification_actors WHERE notification_id = notifications.id)
    WHERE id = ANY(${ids}::uuid[])`.execute(tx);
  return ids.length === groups;
}

/** A page of those of whose notifications some are gone and not removed yet, by id. */
export async function peopleWithGone(db: Db, after: string, limit: number): Promise<string[]> {
  const { rows } = await sql<{ user_id: string }>`
    SELECT user_id FROM notifications WHERE gone AND user_id > ${after}
    GROUP BY user_id ORDER BY user_id LIMIT ${limit}`.execute(db);
  return rows.map((row) => row.user_id);
}
