import { sql } from "kysely";
import type { Db, Tx } from "../../src/db/transaction.ts";

/** The log of likes, as those take it who roll it up. */

/** What the log says of one post, and what is left of it for each person. */
export interface Taken {
  post_id: string;
  author_id: string;
  /** To be added to what was rolled up. */
  delta: number;
  /** Those whose last word was a like, and was not taken back. */
  liked: { user_id: string; at: string }[];
  unliked: string[];
}

/** Of the advisory locks below; any number that nobody else takes. */
const LOCK = 0x6c696b65;

/**
 * Whoever takes from the log holds one of these until the transaction ends. With two at once, whichever commits first
 * would tell that somebody has unliked what the other has not yet told was liked: rows that are locked one by one and
 * skipped (FOR UPDATE SKIP LOCKED) keep no order. Those who append take none.
 */
export async function lockLog(tx: Tx): Promise<void> {
  await sql`SELECT pg_advisory_xact_lock(${LOCK}::int, 0)`.execute(tx);
}

/** The same for the log of one author's posts only: other authors' may be taken at the same time. */
export async function lockLogOf(tx: Tx, authorId: string): Promise<void> {
  await sql`SELECT pg_advisory_xact_lock_shared(${LOCK}::int, 0)`.execute(tx);
  // Not nought, which is the lock of all.
  await sql`SELECT pg_advisory_xact_lock(${LOCK}::int, hashtext(${authorId}) | 1)`.execute(tx);
}

/** Whether the log has anything, or anything of this author's posts. */
export async function hasLog(db: Db, authorId: string | null): Promise<boolean> {
  const { rows } = await sql<{ found: boolean }>`
    SELECT EXISTS (SELECT FROM like_log ${authorId === null ? sql`` : sql`WHERE author_id = ${authorId}::uuid`}) AS found`.execute(
    db,
  );
  return rows[0]?.found ?? false;
}

/**
 * Takes the oldest rows off the log, behind one of the locks above. A row with a lower number that is not there yet is another person's
 * or of another post: one person's likes of one post come in the order of their numbers, for each waits for the row
 * that the one before has made.
 * @param options.authorId only the posts of this author; null for all.
 */
export async function takeLog(
  tx: Tx,
  { authorId, limit }: { authorId: string | null; limit: number },
): Promise<{ rows: number; posts: Taken[] }> {
  const { rows } = await sql<Taken & { rows: number }>`
    WITH taken AS (
      DELETE FROM like_log WHERE id IN (
        SELECT id FROM like_log ${authorId === null ? sql`` : sql`WHERE author_id = ${authorId}::uuid`}
        ORDER BY id LIMIT ${limit})
      RETURNING id, post_id, author_id, user_id, delta, created_at
    ),
    people AS (
      SELECT post_id, author_id, user_id, count(*) AS rows, sum(delta) AS delta, max(created_at) FILTER (WHERE delta = 1) AS at
      FROM taken GROUP BY post_id, author_id, user_id
    )
    SELECT post_id, author_id, sum(rows)::int AS rows, sum(delta)::int AS delta,
      coalesce(json_agg(json_build_object('user_id', user_id, 'at', at)) FILTER (WHERE delta > 0), '[]') AS liked,
      coalesce(json_agg(user_id) FILTER (WHERE delta < 0), '[]') AS unliked
    FROM people GROUP BY post_id, author_id ORDER BY post_id`.execute(tx);
  return { rows: rows.reduce((sum, post) => sum + post.rows, 0), posts: rows };
}

/** Adds to what was rolled up, in the order of the posts. */
export async function addToLikeCounts(tx: Tx, posts: readonly Pick<Taken, "post_id" | "delta">[]): Promise<void> {
  await sql`
    INSERT INTO like_counts AS counts (post_id, like_count)
    SELECT post_id, delta FROM unnest(
      ${posts.map(({ post_id }) => post_id)}::uuid[], ${posts.map(({ delta }) => delta)}::int[]) AS added (post_id, delta)
    ORDER BY post_id
    ON CONFLICT (post_id) DO UPDATE SET like_count = counts.like_count + excluded.like_count`.execute(tx);
}

/** Which of these posts are there, and stay so until the transaction ends. */
export async function holdPosts(tx: Tx, ids: readonly string[]): Promise<Set<string>> {
  const rows = await tx.selectFrom("posts").select("id").where("id", "in", ids).orderBy("id").forKeyShare().execute();
  return new Set(rows.map(({ id }) => id));
}

/** Removes the log of a post that is gone and its count. A roll-up that has taken some of it is waited for. */
export async function deleteLogOf(tx: Tx, { postId, authorId }: { postId: string; authorId: string }): Promise<void> {
  await lockLogOf(tx, authorId);
  await tx.deleteFrom("like_log").where("post_id", "=", postId).execute();
  await tx.deleteFrom("like_counts").where("post_id", "=", postId).execute();
}
