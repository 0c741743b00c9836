import { type RawBuilder, sql } from "kysely";
import { mayBeSeenBy } from "../graph/index.ts";
import { postNotFound, postNotPublished } from "./errors.ts";

/** Seconds in which a picture is usually processed. */
const RETRY_AFTER = 2;

/** A post that a statement is about, as a row. `published` is false of one's own only, which nobody else sees before. */
export interface SeenPost {
  id: string;
  author_id: string;
  published: boolean;
}

/**
 * The post as one row, if the viewer may see it: published, or one's own. The rule of `postsByIds`, for statements that change
 * something about a post and find it at once.
 */
export function seenPost(viewerId: string, postId: string): RawBuilder<SeenPost> {
  return sql`
    SELECT posts.id, posts.user_id AS author_id, posts.status = 'published' AS published
    FROM posts JOIN users ON users.id = posts.user_id
    WHERE posts.id = ${postId}::uuid AND (posts.status = 'published' OR posts.user_id = ${viewerId}::uuid)
      AND ${mayBeSeenBy(viewerId)}`;
}

/**
 * The rule of likes and saves, and of comments.
 * @param post what a statement tells of the post that it was about.
 * @throws 404 where there is none for the viewer, 409 for one's own that is not published.
 */
export function requirePublished<Post extends Pick<SeenPost, "published">>(post: Post | undefined): Post {
  if (!post) throw postNotFound({});
  if (!post.published) throw postNotPublished({}, { retryAfter: RETRY_AFTER });
  return post;
}
