import { NIL } from "uuid";
import { type Db, inTransaction, type Tx } from "../../src/db/transaction.ts";
import {
  addActors,
  addComments,
  addTo,
  type Fitting,
  type Group,
  keyOf,
  openGroups,
  recountActors,
  removeComments,
  removeFitting,
  removeSome,
  settleGroups,
  stillToTell,
} from "./fold-store.ts";
import { lockInbox, setLastAt } from "./inbox-store.ts";
import { discardLogged, lastLogged, loggedUsers, takeLogged } from "./log-store.ts";
import { notificationsTold } from "./metrics.ts";
import type { InboxRow, LogRow } from "./tables.ts";
import { BY_COMMENTS, type NotificationType } from "./types.ts";

/** Rows of the log that one transaction folds, and people of whom the job reads the ids at a time. */
const CHUNK = 1_000;
const PEOPLE = 500;
/** Rows that a fold removes itself of what it takes out; the rest is left to a job. */
const REMOVED_AT_ONCE = 1_000;

/**
 * Folds what is logged for a person into their notifications. Whatever was committed before it began is in them when it
 * resolves; what comes later is left to the next, or it would not end while others go on. It may run twice at once: the
 * second waits for the first.
 */
export async function fold(db: Db, userId: string): Promise<void> {
  const upTo = await lastLogged(db, userId);
  for (let more = upTo !== null; more && upTo !== null; ) {
    const folded = await inTransaction(db, async (tx) => {
      const inbox = await lockInbox(tx, userId);
      if (inbox) return foldSome(tx, inbox, upTo);
      await discardLogged(tx, userId);
      return { rows: 0, moved: [] };
    });
    for (const type of folded.moved) notificationsTold.inc({ type });
    more = folded.rows === CHUNK;
  }
}

/** The same for everybody. */
export async function foldAll(db: Db, signal: AbortSignal): Promise<void> {
  for (let after: string | undefined = NIL; after !== undefined; ) {
    const people: string[] = await loggedUsers(db, after, PEOPLE);
    for (const userId of people) {
      signal.throwIfAborted();
      await fold(db, userId);
    }
    after = people.at(-1);
  }
}

/**
 * In the order of the log: rows of one kind that follow each other are written at once. The inbox is held.
 * @returns how many rows it took, and the type of each notification that was made or moved.
 */
async function foldSome(tx: Tx, inbox: InboxRow, upTo: string): Promise<{ rows: number; moved: NotificationType[] }> {
  const taken = await takeLogged(tx, inbox.user_id, { upTo, limit: CHUNK });
  const { rows, last_at } = placed(taken, inbox.last_at);
  const removes = rows.some(({ op }) => op === "remove" || op === "remove_comment");
  const moved: NotificationType[] = [];
  while (rows.length > 0) {
    const op = rows[0]?.op;
    const end = rows.findIndex((row) => row.op !== op);
    const run = rows.splice(0, end === -1 ? rows.length : end);
    if (op === "add") await addNews(tx, inbox.user_id, run, moved);
    else if (op === "remove") await removeAll(tx, inbox.user_id, run);
    else if (op === "remove_comment") await removeComments(tx, inbox.user_id, run.map(idOf("comment_id")));
    else await recountActors(tx, inbox.user_id, run.map(idOf("actor_id")));
  }
  if (removes) await removeSome(tx, inbox.user_id, { gone: true, limit: REMOVED_AT_ONCE });
  if (last_at > inbox.last_at) await setLastAt(tx, inbox.user_id, last_at);
  return { rows: taken.length, moved };
}

type NewsRow = LogRow & { type: Group["type"]; subject: string; actor_id: string };

async function addNews(tx: Tx, userId: string, logged: readonly LogRow[], moved: NotificationType[]): Promise<void> {
  const rows = logged as NewsRow[];
  const counted = await stillToTell(tx, userId, rows);
  const news = rows.flatMap((row, place) => {
    const isCounted = counted.get(place);
    return isCounted === undefined ? [] : [{ ...row, counted: isCounted }];
  });
  if (news.length === 0) return;
  const groups = [...firstOf(news.toSorted(byTime), keyOf).values()].map((row) => ({
    ...row,
    comment_id: BY_COMMENTS.includes(row.type) ? null : row.comment_id,
  }));
  const ids = await openGroups(tx, userId, groups);
  const deeds = news.map((row) => ({ ...row, notification_id: ids.get(keyOf(row)) ?? "" }));

  const newActors = new Set((await addActors(tx, [...firstOf(deeds, actorKey).values()])).map(actorKey));
  const comments = deeds.flatMap((deed) =>
    BY_COMMENTS.includes(deed.type) && deed.comment_id ? [{ ...deed, comment_id: deed.comment_id }] : [],
  );
  const newComments = new Set((await addComments(tx, [...firstOf(comments, commentKey).values()])).map(commentKey));

  const counts = new Map<string, number>();
  for (const deed of deeds) {
    const isNewActor = newActors.delete(actorKey(deed));
    if (!deed.counted || !(isNewActor || newComments.has(commentKey(deed)))) continue;
    if (!counts.has(deed.notification_id)) moved.push(deed.type);
    addTo(counts, deed.notification_id, isNewActor ? 1 : 0);
  }
  await settleGroups(tx, counts);
}

/**
 * The rows, in the order that they have, with the times at which they stand in the list: their own, or later where that would
 * not be behind all that was there before. What is told late, as likes are, thereby stands where it belongs among all
 * that nobody has looked at yet. Two notifications never stand at one time; those who did the same thing may, so that a
 * thousand likes a second of one post do not run ahead of the clock.
 * @returns also the last of the times.
 */
function placed(rows: readonly LogRow[], lastAt: Date): { rows: LogRow[]; last_at: Date } {
  const places = new Map<LogRow, Date>();
  let latest = lastAt.getTime();
  let before = "";
  for (const row of rows.filter(({ op }) => op === "add").sort(byTime)) {
    const key = keyOf(row as NewsRow);
    latest = Math.max(key === before ? latest : latest + 1, row.at.getTime());
    before = key;
    places.set(row, new Date(latest));
  }
  return { rows: rows.map((row) => ({ ...row, at: places.get(row) ?? row.at })), last_at: new Date(latest) };
}

const byTime = (a: LogRow, b: LogRow) => a.at.getTime() - b.at.getTime();

async function removeAll(tx: Tx, userId: string, rows: readonly LogRow[]): Promise<void> {
  const fittings = new Map<string, Fitting & { actor_ids: string[] | null }>();
  for (const { type, subject, post_id, actor_id } of rows) {
    const key = JSON.stringify([type, subject, post_id, actor_id === null]);
    const fitting = fittings.get(key) ?? { type, subject, post_id, actor_ids: actor_id === null ? null : [] };
    if (actor_id !== null) fitting.actor_ids?.push(actor_id);
    fittings.set(key, fitting);
  }
  for (const fitting of fittings.values()) await removeFitting(tx, userId, fitting);
}

function firstOf<Item>(items: readonly Item[], key: (item: Item) => string): Map<string, Item> {
  const first = new Map<string, Item>();
  for (const item of items) if (!first.has(key(item))) first.set(key(item), item);
  return first;
}

const actorKey = (one: { notification_id: string; actor_id: string }) => `${one.notification_id} ${one.actor_id}`;
const commentKey = (one: { notification_id: string; comment_id: string | null }) =>
  `${one.notification_id} ${one.comment_id}`;

/** The column that rows of this operation have. */
const idOf = (column: "actor_id" | "comment_id") => (row: LogRow) => row[column] ?? "";
