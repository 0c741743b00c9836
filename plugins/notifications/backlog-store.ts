import { type RawBuilder, sql } from "kysely";
import { NIL } from "uuid";
import type { Db, Tx } from "../../src/db/transaction.ts";

/** What concerns all who were told of one account, or of one post, and how their logs are told of that. */

/** An account that is to be counted anew, or a post that is gone. */
export type Subject = { actor_id: string } | { post_id: string };

/** SQL: who was told, by what is folded: rows of `user_id` and the `id` of the notification. */
function folded(subject: Subject): RawBuilder<{ user_id: string; id: string }> {
  return "actor_id" in subject
    ? sql`SELECT user_id, notification_id AS id FROM notification_actors
          JOIN notifications ON notifications.id = notification_id WHERE actor_id = ${subject.actor_id}::uuid`
    : sql`SELECT user_id, id FROM notifications WHERE post_id = ${subject.post_id}::uuid`;
}

/** SQL: who was told, by what is not folded yet, the events of a minute: rows of `user_id` and the `id` in the log. */
function logged(subject: Subject): RawBuilder<{ user_id: string; id: string }> {
  const of = "actor_id" in subject ? sql`actor_id = ${subject.actor_id}` : sql`post_id = ${subject.post_id}`;
  return sql`SELECT user_id, id FROM notification_log WHERE op = 'add' AND ${of}::uuid`;
}

/** @returns some of those who were told, and whether they are all. Read in one statement: a fold that is under way hides nobody. */
export async function someTold(db: Db, subject: Subject, limit: number): Promise<{ people: string[]; all: boolean }> {
  const { rows } = await sql<{ user_id: string }>`
    (SELECT user_id FROM (${folded(subject)}) AS folded LIMIT ${limit})
    UNION ALL (SELECT user_id FROM (${logged(subject)}) AS logged LIMIT ${limit})`.execute(db);
  return { people: [...new Set(rows.map((row) => row.user_id))], all: rows.length < limit };
}

/** A row of the log for each of these people. */
export async function appendFor(tx: Tx, subject: Subject, people: readonly string[]): Promise<void> {
  const [op, actorId, postId] =
    "actor_id" in subject ? ["recount", subject.actor_id, null] : ["remove", null, subject.post_id];
  await sql`
    INSERT INTO notification_log (user_id, op, actor_id, post_id)
    SELECT DISTINCT user_id, ${op}::text, ${actorId}::uuid, ${postId}::uuid FROM unnest(${people}::uuid[]) AS user_id`.execute(
    tx,
  );
}

/** How far the people of a subject have been told. */
export interface Reached {
  /** By id of the log. */
  logged_up_to: string;
  /** By id of the notifications; null while the log is not through. */
  folded_up_to: string | null;
}

/**
 * Tells the next of them: first a page of those whom the log tells, then of those whom what is folded tells. In that order: what
 * is folded in between is then told by the second, and what is appended later is folded by what is true then.
 * @returns how far that is; undefined when all are told.
 */
export async function appendToNext(
  tx: Tx,
  subject: Subject,
  { logged_up_to, folded_up_to }: Reached,
  limit: number,
): Promise<Reached | undefined> {
  const isLog = folded_up_to === null;
  const all = isLog ? logged(subject) : folded(subject);
  const after = isLog ? sql`${logged_up_to}::bigint` : sql`${folded_up_to}::uuid`;
  const { rows } = await sql<{ user_id: string; id: string }>`
    SELECT user_id, id FROM (${all}) AS told WHERE id > ${after} ORDER BY id LIMIT ${limit}`.execute(tx);
  await appendFor(
    tx,
    subject,
    rows.map((row) => row.user_id),
  );
  const last = rows.at(-1)?.id;
  if (isLog) return last === undefined ? { logged_up_to, folded_up_to: NIL } : { logged_up_to: last, folded_up_to };
  return last === undefined ? undefined : { logged_up_to, folded_up_to: last };
}

export async function enterBacklog(tx: Tx, subject: Subject): Promise<void> {
  await tx.insertInto("notification_backlog").values(subject).execute();
}

/**
 * @returns the latest entry, and how far the job is with it; undefined for none. Those that come later ask for another round, from
 * the beginning.
 */
export async function lastEntry(db: Db, subject: Subject): Promise<(Reached & { id: string }) | undefined> {
  return db
    .selectFrom("notification_backlog")
    .select(["id", "logged_up_to", "folded_up_to"])
    .where(...isOf(subject))
    .orderBy("id", "desc")
    .limit(1)
    .executeTakeFirst();
}

export async function noteReached(tx: Tx, entryId: string, reached: Reached): Promise<void> {
  await tx.updateTable("notification_backlog").set(reached).where("id", "=", entryId).execute();
}

export async function leaveBacklog(db: Db, subject: Subject, upTo: string): Promise<void> {
  await db
    .deleteFrom("notification_backlog")
    .where(...isOf(subject))
    .where("id", "<=", upTo)
    .execute();
}

function isOf(subject: Subject): ["actor_id" | "post_id", "=", string] {
  return "actor_id" in subject ? ["actor_id", "=", subject.actor_id] : ["post_id", "=", subject.post_id];
}

/** What is in the backlog, all or what has been there for some milliseconds. It is empty but for the minute after something big. */
export async function readBacklog(db: Db, olderThan = 0): Promise<{ actorIds: string[]; postIds: string[] }> {
  const { rows } = await sql<{ actor_id: string | null; post_id: string | null }>`
    SELECT DISTINCT actor_id, post_id FROM notification_backlog
    WHERE at <= clock_timestamp() - make_interval(secs => ${olderThan / 1_000})`.execute(db);
  return {
    actorIds: rows.flatMap(({ actor_id }) => actor_id ?? []),
    postIds: rows.flatMap(({ post_id }) => post_id ?? []),
  };
}
