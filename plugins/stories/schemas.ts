import { type Static, Type } from "typebox";
import { Nullable } from "../../src/http/paging.ts";
import { toUser, User } from "../accounts/index.ts";
import { Medium, toMedium } from "../media/index.ts";
import type { MediaUrls } from "../tickets/index.ts";
import type { StoryRow } from "./store.ts";

export const AudienceName = Type.Union([Type.Literal("everyone"), Type.Literal("close_friends")], {
  description: "of those who may see what the author shares: all, or the author's close friends",
});

/** Seconds for which an author may want a picture to be shown. */
export const DURATION = { minimum: 1, maximum: 60 } as const;

export const Story = Type.Object({
  id: Type.String(),
  author: User,
  status: Type.Union([Type.Literal("processing"), Type.Literal("published"), Type.Literal("failed")]),
  failure: Nullable(Type.Object({ code: Type.String(), message: Type.String() })),
  media: Type.Array(Medium, { description: "one" }),
  duration: Nullable(
    Type.Integer({ description: "seconds for which the author wants it to be shown; null leaves that to the client" }),
  ),
  audience: AudienceName,
  seen: Type.Boolean({ description: "whether the viewer has seen it; of one's own it is true" }),
  my_reaction: Nullable(Type.String({ description: "the emoji with which the viewer reacted" })),
  view_count: Nullable(Type.Integer({ description: "how many others have seen it, for the author alone" })),
  kept: Nullable(
    Type.Boolean({
      description: "whether its author keeps it when it is over, for the author alone, once it is published",
    }),
  ),
  created_at: Type.String({ format: "date-time" }),
  published_at: Nullable(Type.String({ format: "date-time" })),
  expires_at: Nullable(Type.String({ format: "date-time" })),
});
export type Story = Static<typeof Story>;

/** Whatever the account, a story's picture is for those whom it is for, and so wants a ticket. */
export function toStory(row: StoryRow, urls: MediaUrls): Story {
  return {
    id: row.id,
    author: toUser(row.author, urls),
    status: row.status,
    failure: row.failure_code === null ? null : { code: row.failure_code, message: row.failure_message ?? "" },
    media: [toMedium(row.medium, true, urls)],
    duration: row.duration,
    audience: row.audience,
    seen: row.seen,
    my_reaction: row.my_reaction,
    view_count: row.view_count,
    kept: row.kept,
    created_at: row.created_at.toISOString(),
    published_at: row.published_at?.toISOString() ?? null,
    expires_at: row.expires_at?.toISOString() ?? null,
  };
}
