import { type RawBuilder, sql } from "kysely";
import { v7 as newId } from "uuid";
import type { Tx } from "../../src/db/transaction.ts";
import { mayBeListedFor } from "../graph/index.ts";
import type { NotificationsTable } from "./tables.ts";
import type { NotificationType } from "./types.ts";

/** What a fold writes. All of it is of one person, whose inbox is held. */

/** Something that one actor did, and the notification that it belongs to. */
export interface Deed {
  actor_id: string;
  post_id: string | null;
}

/** An actor of a notification, and whether `actor_count` counts it. */
export interface CountedActor {
  notification_id: string;
  actor_id: string;
  counted: boolean;
}

export interface Told {
  notification_id: string;
  actor_id: string;
  at: Date;
}

/**
 * Which of these deeds are still to be told: what happened between the append and the fold is known only here.
 * @returns by place, whether its actor is counted; nothing for a place that is not to be told.
 */
export async function stillToTell(tx: Tx, userId: string, deeds: readonly Deed[]): Promise<Map<number, boolean>> {
  const { rows } = await sql<{ place: number; counted: boolean }>`
    SELECT place::integer - 1 AS place, actor.state = 'active' AS counted
    FROM unnest(${deeds.map((deed) => deed.actor_id)}::uuid[], ${deeds.map((deed) => deed.post_id)}::uuid[])
           WITH ORDINALITY AS deed (actor_id, post_id, place)
    JOIN users AS actor ON actor.id = deed.actor_id
    WHERE (actor.state <> 'active' OR ${mayBeListedFor(userId, "actor")})
      AND NOT EXISTS (SELECT FROM mutes WHERE muter_id = ${userId}::uuid AND muted_id = actor.id)
      AND (deed.post_id IS NULL OR EXISTS (SELECT FROM posts WHERE posts.id = deed.post_id))`.execute(tx);
  return new Map(rows.map(({ place, counted }) => [place, counted]));
}

export type Group = Pick<NotificationsTable, "type" | "subject" | "post_id" | "post_author_id" | "comment_id"> & {
  at: Date;
};

export const keyOf = ({ type, subject }: { type: string; subject: string }) => `${type} ${subject}`;

/** Makes the notifications that are not there yet, without actors. @returns the ids of all by `keyOf`. */
export async function openGroups(tx: Tx, userId: string, groups: readonly Group[]): Promise<Map<string, string>> {
  await tx
    .insertInto("notifications")
    .values(
      groups.map(({ type, subject, post_id, post_author_id, comment_id, at }) => ({
        ...{ id: newId(), user_id: userId, type, subject, post_id, post_author_id, comment_id },
        ...{ created_at: at, updated_at: at },
      })),
    )
    .onConflict((conflict) => conflict.columns(["user_id", "type", "subject"]).doNothing())
    .execute();
  const { rows } = await sql<{ id: string; type: NotificationType; subject: string }>`
    SELECT id, type, subject FROM notifications
    JOIN unnest(${groups.map(({ type }) => type)}::text[], ${groups.map(({ subject }) => subject)}::text[])
           AS wanted (type, subject) USING (type, subject)
    WHERE user_id = ${userId}`.execute(tx);
  return new Map(rows.map((row) => [keyOf(row), row.id]));
}

/** @returns those that are new. */
export async function addActors(tx: Tx, actors: readonly (Told & CountedActor)[]): Promise<CountedActor[]> {
  return tx
    .insertInto("notification_actors")
    .values(actors.map(({ notification_id, actor_id, at, counted }) => ({ notification_id, actor_id, at, counted })))
    .onConflict((conflict) => conflict.doNothing())
    .returning(["notification_id", "actor_id", "counted"])
    .execute();
}

/** Adds comments of actors that are there, who thereby are the latest. @returns those that are new. */
export async function addComments(
  tx: Tx,
  comments: readonly (Told & { comment_id: string })[],
): Promise<Array<{ notification_id: string; comment_id: string }>> {
  if (comments.length === 0) return [];
  const added = await tx
    .insertInto("notification_comments")
    .values(
      comments.map(({ notification_id, comment_id, actor_id, at }) => ({ notification_id, comment_id, actor_id, at })),
    )
    .onConflict((conflict) => conflict.doNothing())
    .returning(["notification_id", "comment_id", "actor_id"])
    .execute();
  await settleTimes(tx, added);
  return added;
}

/**
 * Brings notifications into line with their actors: adds to the counts of these, by id, and puts each where the latest of
 * its counted actors stands. Where none of them is counted it is shown nowhere; what is gone stays so.
 */
export async function settleGroups(tx: Tx, counts: ReadonlyMap<string, number>): Promise<void> {
  if (counts.size === 0) return;
  await sql`
    UPDATE notifications
    SET actor_count = actor_count + more,
        updated_at = coalesce((SELECT at FROM notification_actors
                               WHERE notification_id = notifications.id AND counted
                               ORDER BY at DESC, actor_id DESC LIMIT 1), updated_at)
    FROM unnest(${[...counts.keys()]}::uuid[], ${[...counts.values()]}::integer[]) AS change (id, more)
    WHERE notifications.id = change.id AND NOT gone`.execute(tx);
}

/** What is taken out: all that fits. */
export interface Fitting {
  type: NotificationType | null;
  subject: string | null;
  post_id: string | null;
  /** Null for everybody. */
  actor_ids: readonly string[] | null;
}

export async function removeFitting(
  tx: Tx,
  userId: string,
  { type, subject, post_id, actor_ids }: Fitting,
): Promise<void> {
  const fits: RawBuilder<unknown>[] = [sql`notifications.user_id = ${userId}`];
  if (type !== null) fits.push(sql`notifications.type = ${type}`);
  if (subject !== null) fits.push(sql`notifications.subject = ${subject}`);
  if (post_id !== null) fits.push(sql`notifications.post_id = ${post_id}`);
  const condition = sql.join(fits, sql` AND `);
  if (actor_ids === null) {
    await takeOut(tx, condition);
    return;
  }
  const actors = sql`${actor_ids}::uuid[]`;
  await sql`
    DELETE FROM notification_comments USING notifications
    WHERE notifications.id = notification_id AND ${condition} AND actor_id = ANY(${actors})`.execute(tx);
  const { rows } = await sql<CountedActor>`
    DELETE FROM notification_actors USING notifications
    WHERE notifications.id = notification_id AND ${condition} AND actor_id = ANY(${actors})
    RETURNING notification_id, actor_id, counted`.execute(tx);
  await settleRemoved(tx, rows);
}

/**
 * Takes notifications out whole. Their actors stay for `removeSome`: a statement that removes a million of them meets the time
 * limit, at every try. Nothing that comes later belongs to them: no subject is their own id.
 */
async function takeOut(tx: Tx, condition: RawBuilder<unknown>): Promise<void> {
  await sql`
    UPDATE notifications SET gone = true, actor_count = 0, subject = id::text, post_id = NULL
    WHERE ${condition} AND NOT gone`.execute(tx);
}

/**
 * Removes some of the notifications of a person, those that are gone or all: so many rows of each table. The inbox is held.
 * @returns whether there may be more.
 */
export async function removeSome(
  tx: Tx,
  userId: string,
  { gone, limit }: { gone: boolean; limit: number },
): Promise<boolean> {
  const which = sql`FROM notifications WHERE user_id = ${userId} ${gone ? sql`AND gone` : sql``}`;
  for (const table of ["notification_comments", "notification_actors"]) {
    const { numAffectedRows } = await sql`
      DELETE FROM ${sql.table(table)} WHERE ctid = ANY(ARRAY(
        SELECT part.ctid FROM (SELECT id ${which}) AS whole
        JOIN ${sql.table(table)} AS part ON part.notification_id = whole.id LIMIT ${limit}))`.execute(tx);
    if (Number(numAffectedRows) === limit) return true;
  }
  const { numAffectedRows } =
    await sql`DELETE FROM notifications WHERE id IN (SELECT id ${which} LIMIT ${limit})`.execute(tx);
  return Number(numAffectedRows) === limit;
}

/** Takes comments out, with all that is about them and with actors who have no other comment there. */
export async function removeComments(tx: Tx, userId: string, commentIds: readonly string[]): Promise<void> {
  await takeOut(
    tx,
    sql`user_id = ${userId} AND type IN ('reply', 'mention', 'comment_like') AND subject = ANY(${commentIds}::text[])`,
  );
  const { rows } = await sql<{ notification_id: string; actor_id: string }>`
    DELETE FROM notification_comments USING notifications
    WHERE notifications.id = notification_id AND user_id = ${userId}
      AND notification_comments.comment_id = ANY(${commentIds}::uuid[])
    RETURNING notification_id, actor_id`.execute(tx);
  await settleRemoved(tx, [...rows, ...(await dropWithoutComments(tx, rows))]);
}

/** Those of the actors who have no comments left go. @returns them; the others get the time of their latest comment. */
export async function dropWithoutComments(
  tx: Tx,
  actors: readonly { notification_id: string; actor_id: string }[],
): Promise<CountedActor[]> {
  if (actors.length === 0) return [];
  const { rows } = await sql<CountedActor>`
    DELETE FROM notification_actors AS actor USING ${pairs(actors)}
    WHERE actor.notification_id = pair.notification_id AND actor.actor_id = pair.actor_id
      AND NOT EXISTS (SELECT FROM notification_comments AS left_over
                      WHERE left_over.notification_id = pair.notification_id AND left_over.actor_id = pair.actor_id)
    RETURNING actor.notification_id, actor.actor_id, counted`.execute(tx);
  await settleTimes(tx, actors);
  return rows;
}

async function settleTimes(tx: Tx, actors: readonly { notification_id: string; actor_id: string }[]): Promise<void> {
  if (actors.length === 0) return;
  await sql`
    UPDATE notification_actors AS actor SET at = latest.at FROM ${pairs(actors)}
    CROSS JOIN LATERAL (SELECT max(at) AS at FROM notification_comments AS own
                        WHERE own.notification_id = pair.notification_id AND own.actor_id = pair.actor_id) AS latest
    WHERE actor.notification_id = pair.notification_id AND actor.actor_id = pair.actor_id AND actor.at <> latest.at`.execute(
    tx,
  );
}

/** Each once. */
function pairs(actors: readonly { notification_id: string; actor_id: string }[]): RawBuilder<unknown> {
  return sql`
    (SELECT DISTINCT notification_id, actor_id
     FROM unnest(${actors.map((actor) => actor.notification_id)}::uuid[], ${actors.map((actor) => actor.actor_id)}::uuid[])
            AS given (notification_id, actor_id)) AS pair`;
}

/** Settles notifications of which actors, or comments of actors, have gone. */
export async function settleRemoved(
  tx: Tx,
  gone: readonly { notification_id: string; counted?: boolean }[],
): Promise<void> {
  const counts = new Map<string, number>();
  for (const { notification_id, counted = false } of gone) addTo(counts, notification_id, counted ? -1 : 0);
  await settleCounts(tx, counts);
}

/** As `settleGroups`; a notification without any actor goes. */
export async function settleCounts(tx: Tx, counts: ReadonlyMap<string, number>): Promise<void> {
  if (counts.size === 0) return;
  await sql`
    DELETE FROM notifications WHERE id = ANY(${[...counts.keys()]}::uuid[])
      AND NOT EXISTS (SELECT FROM notification_actors WHERE notification_id = notifications.id)`.execute(tx);
  await settleGroups(tx, counts);
}

/** Counts those of the actors who are there now, and no others. */
export async function recountActors(tx: Tx, userId: string, actorIds: readonly string[]): Promise<void> {
  const { rows } = await sql<CountedActor>`
    UPDATE notification_actors AS actor SET counted = NOT counted FROM notifications, users
    WHERE notifications.user_id = ${userId} AND notifications.id = actor.notification_id
      AND users.id = actor.actor_id AND actor.actor_id = ANY(${actorIds}::uuid[])
      AND actor.counted <> (users.state = 'active')
    RETURNING actor.notification_id, actor.actor_id, actor.counted`.execute(tx);
  const counts = new Map<string, number>();
  for (const { notification_id, counted } of rows) addTo(counts, notification_id, counted ? 1 : -1);
  await settleGroups(tx, counts);
}

export function addTo(counts: Map<string, number>, key: string, more: number): void {
  counts.set(key, (counts.get(key) ?? 0) + more);
}
