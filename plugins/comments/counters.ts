import { type RawBuilder, sql } from "kysely";
import { type Counter, lookOf, type Numbers } from "../../src/counters.ts";
import { lockComments, lockCount, placeOf, setCommentCount, setLikeCount, setReplyCount } from "./store.ts";

/** SQL: comments of a post that are there, so neither they nor what they reply to is marked. */
const COMMENTS = sql`(
  SELECT coalesce(sum(1 + (SELECT count(*) FROM comments AS reply WHERE reply.parent_id = root.id AND reply.removed_at IS NULL)), 0)::int
  FROM comments AS root WHERE root.post_id = posts.id AND root.parent_id IS NULL AND root.removed_at IS NULL)`;
const REPLIES = sql`(SELECT count(*)::int FROM comments AS reply WHERE reply.parent_id = comments.id AND reply.removed_at IS NULL)`;
const LIKES = sql`(SELECT count(*)::int FROM comment_likes WHERE comment_id = comments.id)`;

/** A counter on the row of a comment. What is being removed is shown to nobody, and its counters are kept no more. */
function onComments(
  column: "reply_count" | "like_count",
  actual: RawBuilder<unknown>,
  set: (...args: Parameters<typeof setReplyCount>) => Promise<void>,
): Counter {
  const numbers = sql`SELECT id, ${sql.ref(column)} AS kept, ${actual} AS actual FROM comments
    WHERE removed_at IS NULL AND EXISTS (SELECT FROM posts WHERE posts.id = comments.post_id)
      AND NOT EXISTS (SELECT FROM comments AS parent WHERE parent.id = comments.parent_id AND parent.removed_at IS NOT NULL)`;
  return {
    name: `comments.${column}`,
    async look(db, { after, limit }) {
      const { rows } = await sql<Numbers & { id: string }>`
        ${numbers} AND id > ${after}::uuid ORDER BY id LIMIT ${limit}`.execute(db);
      return lookOf(rows, limit);
    },
    async hold(tx, id) {
      const place = await placeOf(tx, id);
      if (!place) return null;
      await lockCount(tx, place.post_id);
      await lockComments(tx, [id]);
      const { rows } = await sql<Numbers>`${numbers} AND id = ${id}::uuid`.execute(tx);
      return rows[0] ?? null;
    },
    repair: (tx, id, { actual }) => set(tx, id, actual),
  };
}

export const commentCounters: readonly Counter[] = [
  {
    name: "posts.comment_count",
    async look(db, { after, limit }) {
      const { rows } = await sql<Numbers & { id: string }>`
        SELECT posts.id, coalesce(comment_count, 0) AS kept, ${COMMENTS} AS actual
        FROM posts LEFT JOIN comment_counts ON comment_counts.post_id = posts.id
        WHERE posts.id > ${after}::uuid ORDER BY posts.id LIMIT ${limit}`.execute(db);
      return lookOf(rows, limit);
    },
    async hold(tx, id) {
      await lockCount(tx, id);
      const { rows } = await sql<Numbers>`
        SELECT coalesce(comment_count, 0) AS kept, ${COMMENTS} AS actual
        FROM posts LEFT JOIN comment_counts ON comment_counts.post_id = posts.id
        WHERE posts.id = ${id}::uuid`.execute(tx);
      return rows[0] ?? null;
    },
    repair: (tx, id, { actual }) => setCommentCount(tx, id, actual),
  },
  onComments("reply_count", REPLIES, setReplyCount),
  onComments("like_count", LIKES, setLikeCount),
];
