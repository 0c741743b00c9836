import { type RawBuilder, sql } from "kysely";
import { NIL } from "uuid";
import type { Db, Tx } from "../../src/db/transaction.ts";

/** What concerns all who were told of one account, or of one post, and how their logs are told of that. */

/** An account that is to be counted anew, or a post that is gone. */
export type Subject = { actor_id: string } | { post_id: string };

/** SQL: a row of the log for each of these people, rows of `user_id`. */
function append(subject: Subject, people: RawBuilder<{ user_id: string }>): RawBuilder<unknown> {
  const [op, actorId, postId] =
    "actor_id" in subject ? ["recount", subject.actor_id, null] : ["remove", null, subject.post_id];
  return sql`
    INSERT INTO notification_log (user_id, op, actor_id, post_id)
    SELECT DISTINCT user_id, ${op}::text, ${actorId}::uuid, ${postId}::uuid FROM (${people}) AS told`;
}

/** SQL: who was told, by what is folded: rows of `user_id` and the `id` of the notification. */
function folded(subject: Subject): RawBuilder<{ user_id: string; id: string }> {
  return "actor_id" in subject
    ? sql`SELECT user_id, notification_id AS id FROM notification_actors
          JOIN notifications ON notifications.id = notification_id WHERE actor_id = ${subject.actor_id}::uuid`
    : sql`SELECT user_id, id FROM notifications WHERE post_id = ${subject.post_id}::uuid`;
}

/** SQL: who was told, by what is not folded yet: the events of a minute. */
function logged(subject: Subject): RawBuilder<{ user_id: string }> {
  const of = "actor_id" in subject ? sql`actor_id = ${subject.actor_id}` : sql`post_id = ${subject.post_id}`;
  return sql`SELECT user_id FROM notification_log WHERE op = 'add' AND ${of}::uuid`;
}

/** @returns some of those who were told, and whether they are all. Read in one statement: a fold that is under way hides nobody. */
export async function someTold(db: Db, subject: Subject, limit: number): Promise<{ people: string[]; all: boolean }> {
  const { rows } = await sql<{ user_id: string }>`
    (SELECT user_id FROM (${folded(subject)}) AS folded LIMIT ${limit}) UNION ALL (${logged(subject)} LIMIT ${limit})`.execute(
    db,
  );
  return { people: [...new Set(rows.map((row) => row.user_id))], all: rows.length < limit };
}

export async function appendFor(tx: Tx, subject: Subject, people: readonly string[]): Promise<void> {
  await append(subject, sql`SELECT unnest(${people}::uuid[]) AS user_id`).execute(tx);
}

/**
 * The same for those whom the log tells now. Before `appendToFolded`: what is folded in between is then told by this, and
 * what is appended later is folded by what is true then.
 */
export async function appendToLogged(tx: Tx, subject: Subject): Promise<void> {
  await append(subject, logged(subject)).execute(tx);
}

/** The same for a page of what is folded, by id of the notifications. @returns the last of them; undefined when none is left. */
export async function appendToFolded(
  tx: Tx,
  subject: Subject,
  { after, limit }: { after: string; limit: number },
): Promise<string | undefined> {
  const page = await sql<{ user_id: string; id: string }>`
    SELECT user_id, id FROM (${folded(subject)}) AS folded WHERE id > ${after}::uuid ORDER BY id LIMIT ${limit}`.execute(
    tx,
  );
  await appendFor(tx, subject, [...new Set(page.rows.map((row) => row.user_id))]);
  return page.rows.at(-1)?.id;
}

/** Where `appendToFolded` begins. */
export const BEGINNING = NIL;

export async function enterBacklog(tx: Tx, subject: Subject): Promise<void> {
  await tx.insertInto("notification_backlog").values(subject).execute();
}

/** @returns number of the latest entry; null for none. Those that come later ask for another round. */
export async function lastEntry(db: Db, subject: Subject): Promise<string | null> {
  const { last } = await entries(db, subject)
    .select((query) => query.fn.max("id").as("last"))
    .executeTakeFirstOrThrow();
  return last;
}

export async function leaveBacklog(db: Db, subject: Subject, upTo: string): Promise<void> {
  const [column, id] = Object.entries(subject)[0] as ["actor_id" | "post_id", string];
  await db.deleteFrom("notification_backlog").where(column, "=", id).where("id", "<=", upTo).execute();
}

function entries(db: Db, subject: Subject) {
  const [column, id] = Object.entries(subject)[0] as ["actor_id" | "post_id", string];
  return db.selectFrom("notification_backlog").where(column, "=", id);
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
