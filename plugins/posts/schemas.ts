import { type Static, Type } from "typebox";
import { Nullable } from "../../src/http/paging.ts";
import { toUser, User } from "../accounts/index.ts";
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
  like_count: Type.Integer(),
  comment_count: Type.Integer(),
  liked_by_me: Type.Boolean(),
  saved_by_me: Type.Boolean(),
  created_at: Type.String({ format: "date-time" }),
  published_at: Nullable(Type.String({ format: "date-time" })),
});
export type Post = Static<typeof Post>;

/** Likes, comments and saves have no rows without the features that make them, so their counts are nought. */
export function toPost(row: PostRow, urls: MediaUrls): Post {
  return {
    id: row.id,
    author: toUser(row.author, urls),
    caption: row.caption,
    status: row.status,
    failure: row.failure_code === null ? null : { code: row.failure_code, message: row.failure_message ?? "" },
    media: row.media.map((medium) => toMedium(medium, row.author.is_private, urls)),
    like_count: 0,
    comment_count: 0,
    liked_by_me: false,
    saved_by_me: false,
    created_at: row.created_at.toISOString(),
    published_at: row.published_at?.toISOString() ?? null,
  };
}
