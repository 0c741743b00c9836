import { type RawBuilder, sql } from "kysely";
import type { Db, Tx } from "../../src/db/transaction.ts";
import { mayBeListedFor, mayBeSeenBy } from "../graph/index.ts";
import type { LogRow } from "./tables.ts";
import type { NotificationType } from "./types.ts";

/** Something that others did, to be told to one person. */
export interface News {
  user_id: string;
  type: NotificationType;
  /** See the column; null for the day on which it happens. */
  subject: string | null;
  /** Those who did it, each with its time, or null for now; the earliest first. */
  actors: readonly { id: string; at: Date | null }[];
  post_id?: string;
  comment_id?: string;
}

/** Of UTC, by the database's clock. */
const TODAY = sql`to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD')`;

/**
 * Appends what the person is to be told. Left out is oneself, whom the person may not be shown or has muted, a post that
 * the person may not see, and a type that is switched off; a person who is not active is told nothing.
 * @returns of how many actors it tells.
 */
export async function appendNews(tx: Tx, news: News): Promise<number> {
  const { user_id, type, subject, actors, post_id = null, comment_id = null } = news;
  const result = await sql`
    INSERT INTO notification_log (user_id, op, type, subject, actor_id, post_id, post_author_id, comment_id, at)
    SELECT ${user_id}::uuid, 'add', ${type}::text, coalesce(${subject}::text, ${TODAY}), actor.id, ${post_id}::uuid, post.author_id,
           ${comment_id}::uuid, coalesce(given.at, clock_timestamp())
    FROM unnest(${actors.map(({ id }) => id)}::uuid[], ${actors.map(({ at }) => at)}::timestamptz[])
           WITH ORDINALITY AS given (id, at, place)
    JOIN users AS actor ON actor.id = given.id
    CROSS JOIN ${postFor(user_id, post_id)} AS post
    WHERE actor.id <> ${user_id}::uuid AND ${mayBeListedFor(user_id, "actor")}
      AND NOT EXISTS (SELECT FROM mutes WHERE muter_id = ${user_id}::uuid AND muted_id = actor.id)
      AND EXISTS (SELECT FROM users WHERE id = ${user_id}::uuid AND state = 'active')
      AND NOT EXISTS (SELECT FROM notification_inboxes
                      WHERE user_id = ${user_id}::uuid AND ${type}::text = ANY(types_off))
    ORDER BY given.place`.execute(tx);
  return Number(result.numAffectedRows);
}

/** One row if the post may be seen or there is none, with its author where that is not the person. */
function postFor(userId: string, postId: string | null): RawBuilder<unknown> {
  if (postId === null) return sql`(SELECT NULL::uuid AS author_id)`;
  return sql`
    (SELECT nullif(posts.user_id, ${userId}::uuid) AS author_id
     FROM posts JOIN users AS owner ON owner.id = posts.user_id
     WHERE posts.id = ${postId}::uuid AND posts.status = 'published' AND ${mayBeSeenBy(userId, "owner")})`;
}

/** Whether this transaction has appended that the person is told of a comment. */
export async function isTold(tx: Tx, userId: string, commentId: string): Promise<boolean> {
  const { rows } = await sql`
    SELECT FROM notification_log
    WHERE op = 'add' AND comment_id = ${commentId} AND user_id = ${userId} AND type IN ('comment', 'reply') LIMIT 1`.execute(
    tx,
  );
  return rows.length > 0;
}

/** What is to go out of a person's notifications: all that fits what is given. */
export interface Removal {
  user_id: string;
  type?: NotificationType;
  subject?: string;
  actor_id?: string;
}

export async function appendRemovals(tx: Tx, removals: readonly Removal[]): Promise<void> {
  if (removals.length === 0) return;
  const column = (name: keyof Removal) => removals.map((removal) => removal[name] ?? null);
  await sql`
    INSERT INTO notification_log (user_id, op, type, subject, actor_id)
    SELECT user_id, 'remove', type, subject, actor_id
    FROM unnest(${column("user_id")}::uuid[], ${column("type")}::text[], ${column("subject")}::text[],
                ${column("actor_id")}::uuid[]) AS removal (user_id, type, subject, actor_id)`.execute(tx);
}

/**
 * Takes a post out of all notifications. Who has one is read in one statement from what is folded and from what is not, so
 * a fold that is under way hides nobody. Its author is told in any case: likes may be on their way.
 */
export async function appendPostRemoval(tx: Tx, postId: string, authorId: string): Promise<void> {
  await sql`
    INSERT INTO notification_log (user_id, op, post_id)
    SELECT user_id, 'remove', ${postId}::uuid FROM (
      SELECT ${authorId}::uuid AS user_id
      UNION SELECT user_id FROM notifications WHERE post_id = ${postId}
      UNION SELECT user_id FROM notification_log WHERE op = 'add' AND post_id = ${postId}
    ) AS told`.execute(tx);
}

/** Takes these comments out of all notifications; replies to them are named among them. */
export async function appendCommentRemovals(tx: Tx, commentIds: readonly string[]): Promise<void> {
  await sql`
    INSERT INTO notification_log (user_id, op, comment_id)
    SELECT user_id, 'remove_comment', comment_id FROM (
      SELECT user_id, subject::uuid AS comment_id FROM notifications
      WHERE type IN ('reply', 'mention', 'comment_like') AND subject = ANY(${commentIds}::text[])
      UNION SELECT user_id, folded.comment_id FROM notification_comments AS folded
      JOIN notifications ON notifications.id = folded.notification_id WHERE folded.comment_id = ANY(${commentIds}::uuid[])
      UNION SELECT user_id, comment_id FROM notification_log WHERE op = 'add' AND comment_id = ANY(${commentIds}::uuid[])
    ) AS told`.execute(tx);
}

/** Has everybody who was told of the account look anew whether it is there. */
export async function appendRecounts(tx: Tx, actorId: string): Promise<void> {
  await sql`
    INSERT INTO notification_log (user_id, op, actor_id)
    SELECT user_id, 'recount', ${actorId}::uuid FROM (${toldOf(actorId)}) AS told`.execute(tx);
}

/** @returns some of those who were told of the account, by id. */
export async function someToldOf(db: Db, actorId: string, limit: number): Promise<string[]> {
  const { rows } = await sql<{ user_id: string }>`
    SELECT user_id FROM (${toldOf(actorId)}) AS told ORDER BY user_id LIMIT ${limit}`.execute(db);
  return rows.map((row) => row.user_id);
}

function toldOf(actorId: string): RawBuilder<{ user_id: string }> {
  return sql`
    SELECT user_id FROM notification_actors JOIN notifications ON notifications.id = notification_id
    WHERE actor_id = ${actorId}
    UNION SELECT user_id FROM notification_log WHERE op = 'add' AND actor_id = ${actorId}`;
}

export async function isAnythingLogged(db: Db, userId: string): Promise<boolean> {
  const { rows } = await sql`SELECT FROM notification_log WHERE user_id = ${userId} LIMIT 1`.execute(db);
  return rows.length > 0;
}

/** Takes the oldest rows of a person out of the log, in their order. */
export async function takeLogged(tx: Tx, userId: string, limit: number): Promise<LogRow[]> {
  const { rows } = await sql<LogRow>`
    WITH taken AS (
      DELETE FROM notification_log
      WHERE id IN (SELECT id FROM notification_log WHERE user_id = ${userId} ORDER BY id LIMIT ${limit}) RETURNING *
    ) SELECT * FROM taken ORDER BY id`.execute(tx);
  return rows;
}

/** A page of those whose log is not empty, by id. */
export async function loggedUsers(db: Db, after: string, limit: number): Promise<string[]> {
  const { rows } = await sql<{ user_id: string }>`
    SELECT user_id FROM notification_log WHERE user_id > ${after} GROUP BY user_id ORDER BY user_id LIMIT ${limit}`.execute(
    db,
  );
  return rows.map((row) => row.user_id);
}

/** Removes what is logged for a person who keeps no notifications any more. */
export async function discardLogged(db: Db, userId: string): Promise<void> {
  await db.deleteFrom("notification_log").where("user_id", "=", userId).execute();
}
