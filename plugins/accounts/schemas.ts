import { type Static, Type } from "typebox";
import { Nullable } from "../../src/http/paging.ts";
import type { MediaUrls } from "../tickets/index.ts";
import type { SessionRow } from "./session-store.ts";
import type { AccountRow, UserRow } from "./store.ts";

export const Username = Type.String({
  pattern: "^[A-Za-z0-9._]{3,30}$",
  description: "3 to 30 of a-z, 0-9, dot and underscore; capitals are taken as small letters",
});
export const Email = Type.String({
  pattern: "^[^\\s@]+@[^\\s@.]+(\\.[^\\s@.]+)*$",
  maxLength: 254,
  description: "an email address such as ana@example.org",
});
export const Password = Type.String({ minLength: 8, maxLength: 256 });
/** Control characters, and the marks that turn the direction of all text behind them. */
const UNSEEN = "\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f\\u202a-\\u202e\\u2066-\\u2069";
export const DisplayName = Type.String({
  maxLength: 60,
  pattern: `^[^\\t\\n\\r${UNSEEN}]*$`,
  description: "one line without control characters",
});
export const Bio = Type.String({
  maxLength: 500,
  pattern: `^[^${UNSEEN}]*$`,
  description: "text without control characters",
});

/** A user wherever one is listed. */
export const User = Type.Object({
  id: Type.String(),
  username: Type.String(),
  display_name: Nullable(Type.String()),
  avatar_url: Nullable(Type.String()),
});
export type User = Static<typeof User>;

/** One's own account. */
export const Account = Type.Object({
  ...User.properties,
  bio: Nullable(Type.String()),
  is_private: Type.Boolean(),
  email: Type.String(),
  email_confirmed: Type.Boolean(),
  post_count: Type.Integer(),
  follower_count: Type.Integer(),
  following_count: Type.Integer(),
  created_at: Type.String({ format: "date-time" }),
});
export type Account = Static<typeof Account>;

/** One of one's own sessions. */
export const Session = Type.Object({
  id: Type.String(),
  created_at: Type.String({ format: "date-time" }),
  last_used_at: Type.String({ format: "date-time" }),
  address: Type.String(),
  user_agent: Nullable(Type.String()),
  current: Type.Boolean({ description: "whether it is the session that asks" }),
});
export type Session = Static<typeof Session>;

export const SignedIn = Type.Object({ user: Account, token: Type.String() });

export const UserParams = Type.Object({ username: Type.String() });

export function toUser(row: UserRow, urls: MediaUrls): User {
  return {
    id: row.id,
    username: row.username,
    display_name: row.display_name,
    avatar_url: row.avatar_id === null ? null : urls.rendition(row.avatar_id, "small", row.is_private),
  };
}

export function toAccount(row: AccountRow, urls: MediaUrls): Account {
  return {
    ...toUser(row, urls),
    bio: row.bio,
    is_private: row.is_private,
    email: row.email,
    email_confirmed: row.email_confirmed_at !== null,
    post_count: row.post_count,
    follower_count: row.follower_count,
    following_count: row.following_count,
    created_at: row.created_at.toISOString(),
  };
}

export function toSession(row: SessionRow, currentId: string): Session {
  return {
    id: row.id,
    created_at: row.created_at.toISOString(),
    last_used_at: row.last_used_at.toISOString(),
    address: row.address,
    user_agent: row.user_agent,
    current: row.id === currentId,
  };
}
