import { type Static, Type } from "typebox";
import { Nullable } from "../../src/http/paging.ts";
import { toUser, User } from "../accounts/index.ts";
import { Entity, showEntities } from "../entities/index.ts";
import type { MediaUrls } from "../tickets/index.ts";
import type { CommentRow } from "./list-store.ts";

/** Code points that a comment may have. */
export const COMMENT_LENGTH = 2200;

export const Comment = Type.Object({
  id: Type.String(),
  post_id: Type.String(),
  author: User,
  text: Type.String(),
  entities: Type.Array(Entity),
  parent_id: Nullable(Type.String({ description: "of a reply" })),
  reply_count: Type.Integer(),
  like_count: Type.Integer(),
  liked_by_me: Type.Boolean(),
  created_at: Type.String({ format: "date-time" }),
});
export type Comment = Static<typeof Comment>;

export const CommentLike = Type.Object({
  success: Type.Literal(true),
  idempotent: Type.Boolean({ description: "whether it was so already" }),
  like_count: Type.Integer(),
});
export type CommentLike = Static<typeof CommentLike>;

export function toComment(row: CommentRow, urls: MediaUrls): Comment {
  const { id, post_id, text, parent_id, reply_count, like_count, liked_by_me } = row;
  return {
    id,
    post_id,
    author: toUser(row.author, urls),
    text,
    entities: showEntities(row.entities, (userId) => row.mentioned[userId]),
    parent_id,
    reply_count,
    like_count,
    liked_by_me,
    created_at: row.created_at.toISOString(),
  };
}
