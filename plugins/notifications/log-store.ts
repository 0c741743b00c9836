import { type RawBuilder, sql } from "kysely";
import type { Db, Tx } from "../../src/db/transaction.ts";
import { mayBeListedFor, mayBeSeenBy } from "../graph/index.ts";
import type { LogRow } from "./tables.ts";
import type { NotificationType } from "./types.ts";

/** Something that somebody did, to be told to one person. */
export interface News {
  user_id: string;
  type: NotificationType;
  /** See the column; null for the day on which it happens. */
  subject: string | null;
  actor_id: string;
  /** Now, where it is left out. */
  at?: Date;
  post_id?: string | null;
  comment_id?: string | null;
}

/** Of UTC, by the database's clock. */
const TODAY = sql`to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD')`;

/**
 * Appends what people are to be told, in one statement: a roll-up tells hundreds while others wait for it. Left out is oneself,
 * whom the person may not be shown or has muted, a post or comment that the person may not see, and a type that is
 * switched off; a person who is not active is told nothing.
 * @returns how much of it is told.
 */
export async function appendNews(tx: Tx, news: readonly News[]): Promise<number> {
  if (news.length === 0) return 0;
  const column = (name: keyof News) => news.map((one) => one[name] ?? null);
  const recipient = sql.ref<string>("told.user_id");
  const result = await sql`
    INSERT INTO notification_log (user_id, op, type, subject, actor_id, post_id, post_author_id, comment_id, at)
    SELECT told.user_id, 'add', told.type, coalesce(told.subject, ${TODAY}), actor.id, told.post_id,
           nullif(owner.id, told.user_id), told.comment_id, coalesce(told.at, clock_timestamp())
    FROM unnest(${column("user_id")}::uuid[], ${column("type")}::text[], ${column("subject")}::text[],
                ${column("actor_id")}::uuid[], ${column("at")}::timestamptz[], ${column("post_id")}::uuid[],
                ${column("comment_id")}::uuid[])
           WITH ORDINALITY AS told (user_id, type, subject, actor_id, at, post_id, comment_id, place)
    JOIN users AS person ON person.id = told.user_id AND person.state = 'active'
    JOIN users AS actor ON actor.id = told.actor_id
    LEFT JOIN posts ON posts.id = told.post_id AND posts.status = 'published'
    LEFT JOIN users AS owner ON owner.id = posts.user_id
    WHERE actor.id <> person.id AND ${mayBeListedFor(recipient, "actor")}
      AND (told.post_id IS NULL OR ${mayBeSeenBy(recipient, "owner")})
      AND (told.comment_id IS NULL OR ${threadMayBeSeenBy(recipient)})
      AND NOT EXISTS (SELECT FROM mutes WHERE muter_id = person.id AND muted_id = actor.id)
      AND NOT EXISTS (SELECT FROM notification_inboxes
                      WHERE notification_inboxes.user_id = person.id AND told.type = ANY(types_off))
    ORDER BY told.place`.execute(tx);
  return Number(result.numAffectedRows);
}

/** Of a comment in `told`: a reply is seen only by those who are shown the author of what it replies to. */
function threadMayBeSeenBy(recipient: RawBuilder<string>): RawBuilder<boolean> {
  return sql`NOT EXISTS (
    SELECT FROM comments AS reply
    JOIN comments AS parent ON parent.id = reply.parent_id
    JOIN users AS parent_author ON parent_author.id = parent.user_id
    WHERE reply.id = told.comment_id AND NOT ${mayBeListedFor(recipient, "parent_author")})`;
}

/** @returns whom this transaction has appended that they are told of a comment as a comment or a reply. */
export async function toldOfComment(tx: Tx, commentId: string): Promise<string[]> {
  const { rows } = await sql<{ user_id: string }>`
    SELECT user_id FROM notification_log
    WHERE op = 'add' AND comment_id = ${commentId} AND type IN ('comment', 'reply')`.execute(tx);
  return rows.map((row) => row.user_id);
}

/** What is to go out of a person's notifications: all that fits what is given. */
export interface Removal {
  user_id: string;
  type?: NotificationType;
  subject?: string;
  actor_id?: string;
  post_id?: string;
}

/**
 * An account that is being deleted is told nothing and taken out of everything before its posts go and what it did is taken
 * back: nothing of that is appended, or the log would name somebody who is gone. @param erasing says that this is the taking out.
 */
export async function appendRemovals(
  tx: Tx,
  removals: readonly Removal[],
  { erasing = false }: { erasing?: boolean } = {},
): Promise<void> {
  if (removals.length === 0) return;
  const column = (name: keyof Removal) => removals.map((removal) => removal[name] ?? null);
  await sql`
    INSERT INTO notification_log (user_id, op, type, subject, actor_id, post_id)
    SELECT user_id, 'remove', type, subject, actor_id, post_id
    FROM unnest(${column("user_id")}::uuid[], ${column("type")}::text[], ${column("subject")}::text[],
                ${column("actor_id")}::uuid[], ${column("post_id")}::uuid[])
           AS removal (user_id, type, subject, actor_id, post_id)
    WHERE ${erasing}
       OR NOT EXISTS (SELECT FROM users WHERE id IN (removal.user_id, removal.actor_id) AND state = 'deleting')`.execute(
    tx,
  );
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

/** The id of the latest row of a person; null where there is none. */
export async function lastLogged(db: Db, userId: string): Promise<string | null> {
  const { rows } = await sql<{ id: string }>`
    SELECT id::text FROM notification_log WHERE user_id = ${userId} ORDER BY notification_log.id DESC LIMIT 1`.execute(
    db,
  );
  return rows[0]?.id ?? null;
}

/** Takes the oldest rows of a person out of the log, in their order. @param page.upTo the id of the last that is taken. */
export async function takeLogged(
  tx: Tx,
  userId: string,
  { upTo, limit }: { upTo: string; limit: number },
): Promise<LogRow[]> {
  const { rows } = await sql<LogRow>`
    WITH taken AS (
      DELETE FROM notification_log
      WHERE id IN (
        SELECT id FROM notification_log WHERE user_id = ${userId} AND id <= ${upTo}::bigint ORDER BY id LIMIT ${limit})
      RETURNING *
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

/** Removes some of what is logged of a person for others. @returns whether there may be more. */
export async function discardSomeOf(db: Db, actorId: string, limit: number): Promise<boolean> {
  const { numAffectedRows } = await sql`
    DELETE FROM notification_log WHERE id IN (
      SELECT id FROM notification_log WHERE actor_id = ${actorId} ORDER BY id LIMIT ${limit})`.execute(db);
  return Number(numAffectedRows ?? 0n) === limit;
}

/** Removes what is logged for a person who keeps no notifications any more. */
export async function discardLogged(db: Db, userId: string): Promise<void> {
  await db.deleteFrom("notification_log").where("user_id", "=", userId).execute();
}
