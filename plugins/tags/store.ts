import { type Generated, sql } from "kysely";
import type { Db, Tx } from "../../src/db/transaction.ts";

export interface PostTagsTable {
  author_id: string;
  post_id: string;
  tag: string;
  published_at: Date;
}

export interface TagsTable {
  tag: string;
  uses: number;
}

export interface TagLogTable {
  id: Generated<number>;
  tag: string;
  delta: 1 | -1;
}

declare module "../../src/db/schema.ts" {
  interface Schema {
    post_tags: PostTagsTable;
    tags: TagsTable;
    tag_log: TagLogTable;
  }
}

/** A post as its events tell of it. */
export interface TaggedPost {
  post_id: string;
  author_id: string;
  published_at: Date;
}

/** Gives a post these hashtags and no others. Its row is locked, so nobody else does; and nobody is waited for. */
export async function setTags(tx: Tx, post: TaggedPost, hashtags: readonly string[]): Promise<void> {
  const { post_id, author_id, published_at } = post;
  await sql`
    WITH gone AS (
      DELETE FROM post_tags WHERE author_id = ${author_id} AND post_id = ${post_id} AND tag <> ALL(${hashtags}::text[])
      RETURNING tag
    ), added AS (
      INSERT INTO post_tags (author_id, post_id, tag, published_at)
      SELECT ${author_id}::uuid, ${post_id}::uuid, tag, ${published_at}::timestamptz FROM unnest(${hashtags}::text[]) AS tag
      ON CONFLICT DO NOTHING RETURNING tag
    )
    INSERT INTO tag_log (tag, delta) SELECT tag, -1 FROM gone UNION ALL SELECT tag, 1 FROM added`.execute(tx);
}

/** Of an author, in no order. @returns how many. */
export async function deleteSomeTags(db: Db, authorId: string, limit: number): Promise<number> {
  return deleteAndLog(db, sql`ctid IN (SELECT ctid FROM post_tags WHERE author_id = ${authorId} LIMIT ${limit})`);
}

/** Of posts that are gone. @returns how many. */
export async function deleteSomeStrays(db: Db, limit: number): Promise<number> {
  return deleteAndLog(
    db,
    sql`ctid IN (SELECT ctid FROM post_tags
      WHERE NOT EXISTS (SELECT FROM posts WHERE posts.id = post_id) LIMIT ${limit})`,
  );
}

async function deleteAndLog(db: Db, which: ReturnType<typeof sql>): Promise<number> {
  const { numAffectedRows = 0n } = await sql`
    WITH gone AS (DELETE FROM post_tags WHERE ${which} RETURNING tag)
    INSERT INTO tag_log (tag, delta) SELECT tag, -1 FROM gone`.execute(db);
  return Number(numAffectedRows);
}

/**
 * Adds the oldest of the log to the uses, in one statement: what is not committed is still in the log. Two at once take
 * different parts, and the rows of tags in one order.
 * @returns how many entries that was.
 */
export async function addLogToUses(db: Db, limit: number): Promise<number> {
  const { rows } = await sql<{ taken: number }>`
    WITH taken AS (
      DELETE FROM tag_log WHERE id IN (SELECT id FROM tag_log ORDER BY id LIMIT ${limit} FOR UPDATE SKIP LOCKED)
      RETURNING tag, delta
    ), added AS (
      INSERT INTO tags (tag, uses) SELECT tag, sum(delta) FROM taken GROUP BY tag ORDER BY tag
      ON CONFLICT (tag) DO UPDATE SET uses = tags.uses + excluded.uses
    )
    SELECT count(*)::int AS taken FROM taken`.execute(db);
  return rows[0]?.taken ?? 0;
}

/** Tags that no post has any more. One whose deletion was counted before its use is below nought for a while, and stays. */
export async function deleteUnused(db: Db): Promise<void> {
  await db.deleteFrom("tags").where("uses", "=", sql.lit(0)).execute();
}

/** To the uses of one tag, whether it has any or not. */
export async function addToUses(tx: Tx, tag: string, uses: number): Promise<void> {
  await sql`
    INSERT INTO tags (tag, uses) VALUES (${tag}, ${uses})
    ON CONFLICT (tag) DO UPDATE SET uses = tags.uses + excluded.uses`.execute(tx);
}

/** Of those who mend uses, one after the other. */
export async function lockUses(tx: Tx): Promise<void> {
  await sql`SELECT pg_advisory_xact_lock(hashtextextended('tags.uses', 0))`.execute(tx);
}
