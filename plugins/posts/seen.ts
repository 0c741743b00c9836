import { type RawBuilder, sql } from "kysely";
import { mayBeSeenBy } from "../graph/index.ts";

/**
 * The post as one row of `id` and `author_id`, if the viewer may see it: published, or one's own. The rule of `postsByIds`, for
 * statements that change something about a post and find it at once.
 */
export function seenPost(viewerId: string, postId: string): RawBuilder<{ id: string; author_id: string }> {
  return sql`
    SELECT posts.id, posts.user_id AS author_id FROM posts JOIN users ON users.id = posts.user_id
    WHERE posts.id = ${postId}::uuid AND (posts.status = 'published' OR posts.user_id = ${viewerId}::uuid)
      AND ${mayBeSeenBy(viewerId)}`;
}
