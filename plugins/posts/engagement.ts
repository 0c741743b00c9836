import { type RawBuilder, sql } from "kysely";

/**
 * What others did with a post: counts, and what the viewer has to do with it. The rows are written by the features likes,
 * comments and saves; their tables are there also where those are off.
 */
export interface Engagement {
  like_count: number;
  comment_count: number;
  liked_by_me: boolean;
  saved_by_me: boolean;
}

/**
 * SQL, and so below. What was rolled up and what waits in the log: read of one snapshot, so it is the number of rows at any time.
 * @param postId with its table, such as `posts.id`: the tables that are read have an `id` of their own.
 */
export function likeCountOf(postId: string): RawBuilder<number> {
  const id = sql.ref(postId);
  return sql<number>`(coalesce((SELECT like_count FROM like_counts WHERE post_id = ${id}), 0)
    + coalesce((SELECT sum(delta) FROM like_log WHERE post_id = ${id}), 0))::int`;
}

export function commentCountOf(postId: string): RawBuilder<number> {
  return sql<number>`coalesce((SELECT comment_count FROM comment_counts WHERE post_id = ${sql.ref(postId)}), 0)`;
}

export function isLikedBy(viewerId: RawBuilder<unknown>, postId: string): RawBuilder<boolean> {
  return sql<boolean>`EXISTS (SELECT FROM likes WHERE user_id = ${viewerId} AND post_id = ${sql.ref(postId)})`;
}

export function isSavedBy(viewerId: RawBuilder<unknown>, postId: string): RawBuilder<boolean> {
  return sql<boolean>`EXISTS (SELECT FROM saves WHERE user_id = ${viewerId} AND post_id = ${sql.ref(postId)})`;
}
