import { type Static, Type } from "typebox";
import { Id } from "../../src/http/ids.ts";
import { Nullable } from "../../src/http/paging.ts";
import { toUser, User } from "../accounts/index.ts";
import type { MediaUrls } from "../tickets/index.ts";
import type { NotificationRow } from "./store.ts";
import { ACTORS_SHOWN, NOTIFICATION_TYPES, type NotificationType } from "./types.ts";

export const Notification = Type.Object({
  id: Type.String(),
  type: Type.Enum([...NOTIFICATION_TYPES]),
  actors: Type.Array(User, { maxItems: ACTORS_SHOWN, description: "those who did it, the latest first" }),
  actor_count: Type.Integer({ description: "how many people did it, those above included" }),
  post_id: Nullable(Type.String()),
  comment_id: Nullable(Type.String({ description: "the latest one where there are several" })),
  read: Type.Boolean(),
  created_at: Type.String({ format: "date-time" }),
  updated_at: Type.String({ format: "date-time", description: "the place in the list" }),
});
export type Notification = Static<typeof Notification>;

export const UnreadCount = Type.Object({ unread_count: Type.Integer() });

export const ReadBody = Nullable(
  Type.Object(
    {
      up_to: Type.Optional(
        Nullable(Id({ description: "a notification: it and all that stand below it are read; without it, all are" })),
      ),
    },
    { additionalProperties: false },
  ),
);

const byType = <Value>(value: Value) =>
  Object.fromEntries(NOTIFICATION_TYPES.map((type) => [type, value])) as Record<NotificationType, Value>;

/** Whether one wants to be told, by type. */
export const Preferences = Type.Object(byType(Type.Boolean()));
export type Preferences = Static<typeof Preferences>;

export const SomePreferences = Type.Partial(Preferences, { additionalProperties: false });

export function toNotification({ actors, ...row }: NotificationRow, urls: MediaUrls): Notification {
  return {
    id: row.id,
    type: row.type,
    actors: actors.map((actor) => toUser(actor, urls)),
    actor_count: row.actor_count,
    post_id: row.post_id,
    comment_id: row.comment_id,
    read: row.read,
    created_at: row.created_at.toISOString(),
    updated_at: row.updated_at.toISOString(),
  };
}
