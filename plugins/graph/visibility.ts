import { type RawBuilder, sql } from "kysely";

/**
 * Who may see whom, the one place where it is decided: a public account is seen by everybody, a private one by itself
 * and its followers.
 * @param viewerId null for whoever is not signed in.
 * @param owner the table or alias of `users` in the query that is to hold the condition.
 */
export function mayBeSeenBy(viewerId: string | null, owner = "users"): RawBuilder<boolean> {
  const isPrivate = sql.ref(`${owner}.is_private`);
  if (viewerId === null) return sql<boolean>`NOT ${isPrivate}`;
  const id = sql.ref(`${owner}.id`);
  return sql<boolean>`(NOT ${isPrivate} OR ${id} = ${viewerId}::uuid OR EXISTS (
    SELECT FROM follows WHERE follower_id = ${viewerId}::uuid AND following_id = ${id}))`;
}
