import type { Generated, Selectable } from "kysely";
import type { NotificationType } from "./types.ts";

export interface InboxesTable {
  user_id: string;
  last_at: Generated<Date>;
  read_at: Generated<Date>;
  shown_at: Date | null;
  types_off: Generated<NotificationType[]>;
}

export interface NotificationsTable {
  id: string;
  user_id: string;
  type: NotificationType;
  subject: string;
  post_id: string | null;
  post_author_id: string | null;
  comment_id: string | null;
  actor_count: Generated<number>;
  created_at: Date;
  updated_at: Date;
  gone: Generated<boolean>;
}

export interface ActorsTable {
  notification_id: string;
  actor_id: string;
  at: Date;
  counted: boolean;
}

export interface CommentsTable {
  notification_id: string;
  comment_id: string;
  actor_id: string;
  at: Date;
}

/**
 * What one row of the log does to the notifications of `user_id`. `remove` takes out whatever fits all of `type`, `subject`,
 * `actor_id` and `post_id` that are given; `recount` looks anew whether an actor is there.
 */
export interface LogTable {
  id: Generated<string>;
  user_id: string;
  op: "add" | "remove" | "remove_comment" | "recount";
  type: NotificationType | null;
  subject: string | null;
  actor_id: string | null;
  post_id: string | null;
  post_author_id: string | null;
  comment_id: string | null;
  at: Generated<Date>;
}

/** What all who were told of an account, or of a post, have to be told yet. */
export interface BacklogTable {
  id: Generated<string>;
  actor_id: string | null;
  post_id: string | null;
  at: Generated<Date>;
  logged_up_to: Generated<string>;
  folded_up_to: string | null;
}

export type LogRow = Selectable<LogTable>;
export type InboxRow = Selectable<InboxesTable>;

declare module "../../src/db/schema.ts" {
  interface Schema {
    notification_inboxes: InboxesTable;
    notification_log: LogTable;
    notification_backlog: BacklogTable;
    notifications: NotificationsTable;
    notification_actors: ActorsTable;
    notification_comments: CommentsTable;
  }
}
