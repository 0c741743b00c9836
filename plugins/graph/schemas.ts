import { type Static, Type } from "typebox";
import { Nullable } from "../../src/http/paging.ts";
import { toUser, User, type UserRow } from "../accounts/index.ts";
import type { MediaUrls } from "../tickets/index.ts";
import type { Relationship } from "./store.ts";

const RelationshipSchema = Type.Object(
  {
    following: Type.Boolean(),
    requested: Type.Boolean(),
    followed_by: Type.Boolean(),
    blocking: Type.Boolean(),
    muting: Type.Boolean(),
  },
  { description: "what the viewer is to the account, and with `followed_by` the account to the viewer" },
);

/** A user with what the viewer is to them. */
export const RelatedUser = Type.Object({ ...User.properties, relationship: RelationshipSchema });
export type RelatedUser = Static<typeof RelatedUser>;

export const Profile = Type.Object({
  ...RelatedUser.properties,
  bio: Nullable(Type.String()),
  is_private: Type.Boolean(),
  post_count: Type.Integer(),
  follower_count: Type.Integer(),
  following_count: Type.Integer(),
});

export const FollowAnswer = Type.Object({
  status: Type.Union([Type.Literal("following"), Type.Literal("requested"), Type.Literal("none")]),
});

export const BlockAnswer = Type.Object({ blocking: Type.Boolean() });
export const MuteAnswer = Type.Object({ muting: Type.Boolean() });
export const CloseFriendAnswer = Type.Object({ close_friend: Type.Boolean() });
export const StoryHideAnswer = Type.Object({ stories_hidden: Type.Boolean() });

export function toRelatedUser(row: UserRow & { relationship: Relationship }, urls: MediaUrls): RelatedUser {
  return { ...toUser(row, urls), relationship: row.relationship };
}
