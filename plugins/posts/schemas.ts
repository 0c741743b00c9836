import { type Static, Type } from "typebox";
import { Nullable } from "../../src/http/paging.ts";
import { toUser, User } from "../accounts/index.ts";
import { Entity, showEntities } from "../entities/index.ts";
import { Medium, toMedium } from "../media/index.ts";
import type { MediaUrls } from "../tickets/index.ts";
import type { PostRow } from "./store.ts";

/** Code points that a caption may have. */
export const CAPTION_LENGTH = 2200;

export const Post = Type.Object({
  id: Type.String(),
  author: User,
  caption: Nullable(Type.String()),
  status: Type.Union([
    Type.Literal("processing"),
    Type.Literal("published"),
    Type.Literal("failed"),
    Type.Literal("deleted"),
  ]),
  failure: Nullable(Type.Object({ code: Type.String(), message: Type.String() })),
  media: Type.Array(Medium),
  comments_closed: Type.Boolean({ description: "whether its author takes no more comments" }),
  created_at: Type.String({ format: "date-time" }),
  published_at: Nullable(Type.String({ format: "date-time" })),
  caption_entities: Type.Array(Entity),
  like_count: Type.Integer(),
  comment_count: Type.Integer(),
  liked_by_me: Type.Boolean(),
  saved_by_me: Type.Boolean(),
});
export type Post = Static<typeof Post>;

/** What depends on the viewer comes last, as in `HotPost`: an answer is the same to the byte wherever it comes from. */
export function toPost(row: PostRow, urls: MediaUrls): Post {
  return {
    id: row.id,
    author: toUser(row.author, urls),
    caption: row.caption,
    status: row.status,
    failure: row.failure_code === null ? null : { code: row.failure_code, message: row.failure_message ?? "" },
    media: row.media.map((medium) => toMedium(medium, row.author.is_private, urls)),
    comments_closed: row.comments_closed,
    created_at: row.created_at.toISOString(),
    published_at: row.published_at?.toISOString() ?? null,
    caption_entities: showEntities(row.caption_entities, (id) => row.mentioned[id]),
    like_count: row.like_count,
    comment_count: row.comment_count,
    liked_by_me: row.liked_by_me,
    saved_by_me: row.saved_by_me,
  };
}
