/** What a person can be told. */
export const NOTIFICATION_TYPES = [
  "follow",
  "follow_request",
  "follow_approved",
  "like",
  "comment",
  "reply",
  "mention",
  "comment_like",
] as const;

export type NotificationType = (typeof NOTIFICATION_TYPES)[number];

/** Those of which one person may do several to the same thing: by comments. */
export const BY_COMMENTS: readonly NotificationType[] = ["comment", "reply"];

/** Actors that a notification names. */
export const ACTORS_SHOWN = 3;

/** Milliseconds that a notification, and each actor of one, is kept. */
export const RETENTION = 90 * 86_400_000;

/** The events that change somebody's notifications. */
export const TOLD_EVENTS = [
  ...(["follow.started", "follow.ended", "follow.requested", "follow.request_ended"] as const),
  ...(["follow.approved", "follows.approved"] as const),
  ...(["account.blocked", "account.muted", "account.suspended", "account.unsuspended", "account.deleting"] as const),
  ...(["likes.rolled_up", "comment.created", "comments.deleted", "comment.liked", "comment.unliked"] as const),
  ...(["mentions.changed", "post.deleted"] as const),
] as const;

export type ToldEvent = (typeof TOLD_EVENTS)[number];
