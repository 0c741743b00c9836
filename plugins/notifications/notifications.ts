import { validate as isUuid } from "uuid";
import type { Context } from "../../src/context.ts";
import { type Db, inTransaction } from "../../src/db/transaction.ts";
import { withAnswer } from "../../src/http/idempotency.ts";
import type { Position } from "../../src/http/paging.ts";
import { foldBacklog } from "./backlog.ts";
import { notificationNotFound } from "./errors.ts";
import { fold } from "./fold.ts";
import { lockInbox, markRead, setShown, setTypesOff, typesOff } from "./inbox-store.ts";
import { countUnread, listNotifications, type NotificationRow, placeOf } from "./store.ts";
import { NOTIFICATION_TYPES, type NotificationType } from "./types.ts";

declare module "../../src/events.ts" {
  interface Events {
    /** Somebody looks at their notifications: whatever others hold back of them is told now. */
    "notifications.asked": { user_id: string };
  }
}

type ReadContext = Pick<Context, "db" | "emit">;

/** One page of a person's notifications, the latest first, with all that has happened until now. */
export async function notificationsOf(
  context: ReadContext,
  userId: string,
  page: { limit: number; after: Position | null },
): Promise<NotificationRow[]> {
  await bringUpToDate(context, userId);
  const rows = await listNotifications(context.db, userId, page);
  const shownAt = page.after === null && rows[0]?.newly_shown_at;
  if (shownAt) await setShown(context.db, userId, shownAt);
  return rows;
}

export async function unreadCount(context: ReadContext, userId: string): Promise<number> {
  await bringUpToDate(context, userId);
  return countUnread(context.db, userId);
}

/**
 * Marks a notification and all that stand below it as read, as they were when the person last saw the list; or all.
 * Idempotent; what is read stays read.
 * @returns how many are unread now, which is the answer.
 * @throws 404 for a notification that the person has not, or may not see.
 */
export async function readNotifications(
  context: ReadContext,
  userId: string,
  upTo: string | null,
): Promise<{ unread_count: number }> {
  await bringUpToDate(context, userId);
  const place = upTo !== null && isUuid(upTo) ? await placeOf(context.db, userId, upTo) : undefined;
  if (upTo !== null && place === undefined) throw notificationNotFound({});
  return withAnswer(context.db, 200, async (db) => {
    if (place !== null) await markRead(db, userId, place);
    return { unread_count: await countUnread(db, userId) };
  });
}

async function bringUpToDate({ db, emit }: ReadContext, userId: string): Promise<void> {
  await inTransaction(db, (tx) => emit(tx, "notifications.asked", { user_id: userId }));
  await fold(db, userId);
  await foldBacklog(db, userId);
}

export type PreferencesByType = Record<NotificationType, boolean>;

export async function preferences(db: Db, userId: string): Promise<PreferencesByType> {
  const off = await typesOff(db, userId);
  return Object.fromEntries(NOTIFICATION_TYPES.map((type) => [type, !off.includes(type)])) as PreferencesByType;
}

/** Changes some. What was told before stays. @returns all of them. */
export async function changePreferences(
  db: Db,
  userId: string,
  changes: Partial<PreferencesByType>,
): Promise<PreferencesByType> {
  await inTransaction(db, async (tx) => {
    const inbox = await lockInbox(tx, userId);
    const off = NOTIFICATION_TYPES.filter((type) => !(changes[type] ?? !inbox?.types_off.includes(type)));
    await setTypesOff(tx, userId, off);
  });
  return preferences(db, userId);
}
