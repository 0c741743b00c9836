import { type Generated, type RawBuilder, type Selectable, sql } from "kysely";
import { type BoundedPage, boundedPage } from "../../src/db/bounded-page.ts";
import type { Db, Tx } from "../../src/db/transaction.ts";
import type { Position } from "../../src/http/paging.ts";
import { mayBeSeenBy } from "../graph/index.ts";
import { type SeenPost, seenPost } from "../posts/index.ts";

export interface SavesTable {
  user_id: string;
  post_id: string;
  created_at: Generated<Date>;
}

export interface CollectionsTable {
  id: string;
  user_id: string;
  name: string;
  /** The name as it is compared. */
  folded: string;
  created_at: Generated<Date>;
}

export interface CollectionPostsTable {
  collection_id: string;
  user_id: string;
  post_id: string;
  created_at: Generated<Date>;
}

declare module "../../src/db/schema.ts" {
  interface Schema {
    saves: SavesTable;
    collections: CollectionsTable;
    collection_posts: CollectionPostsTable;
  }
}

/** What a statement tells of the post that it was about. */
type Published = Pick<SeenPost, "published">;

/** Saves the post if it is published. @returns undefined where there is no such post for the viewer. */
export async function insertSave(db: Db, viewerId: string, postId: string): Promise<Published | undefined> {
  const { rows } = await sql<Published>`
    WITH post AS (${seenPost(viewerId, postId)}),
    made AS (
      INSERT INTO saves (user_id, post_id) SELECT ${viewerId}::uuid, id FROM post WHERE published ON CONFLICT DO NOTHING
    )
    SELECT published FROM post`.execute(db);
  return rows[0];
}

/**
 * Puts a saved post into a collection; both are held until the transaction ends.
 * @returns whether the post is still saved.
 */
export async function insertIntoCollection(
  tx: Tx,
  { userId, postId, collectionId }: { userId: string; postId: string; collectionId: string },
): Promise<boolean> {
  const { rows } = await sql`
    WITH saved AS (SELECT user_id, post_id FROM saves WHERE user_id = ${userId}::uuid AND post_id = ${postId}::uuid FOR KEY SHARE),
    made AS (
      INSERT INTO collection_posts (collection_id, user_id, post_id)
      SELECT ${collectionId}::uuid, user_id, post_id FROM saved ON CONFLICT DO NOTHING
    )
    SELECT post_id FROM saved`.execute(tx);
  return rows.length > 0;
}

/** Unsaves the post, which also takes it out of every collection. @returns undefined as above. */
export async function deleteSave(db: Db, viewerId: string, postId: string): Promise<Published | undefined> {
  const { rows } = await sql<Published>`
    WITH post AS (${seenPost(viewerId, postId)}),
    gone AS (DELETE FROM saves USING post WHERE saves.user_id = ${viewerId}::uuid AND saves.post_id = post.id)
    SELECT published FROM post`.execute(db);
  return rows[0];
}

/** @returns whether the post is saved; undefined as above. */
export async function deleteFromCollection(
  db: Db,
  viewerId: string,
  { postId, collectionId }: { postId: string; collectionId: string },
): Promise<(Published & { saved: boolean }) | undefined> {
  const { rows } = await sql<Published & { saved: boolean }>`
    WITH post AS (${seenPost(viewerId, postId)}),
    gone AS (
      DELETE FROM collection_posts USING post
      WHERE collection_posts.collection_id = ${collectionId}::uuid AND collection_posts.post_id = post.id
    )
    SELECT published, EXISTS (SELECT FROM saves WHERE user_id = ${viewerId}::uuid AND post_id = post.id) AS saved
    FROM post`.execute(db);
  return rows[0];
}

/** The post of an entry, if the viewer may still see it: to be joined to `entries`, which has `post_id`. */
function stillSeen(viewerId: string): RawBuilder<unknown> {
  return sql`JOIN posts ON posts.id = entries.post_id JOIN users ON users.id = posts.user_id
    WHERE posts.status = 'published' AND ${mayBeSeenBy(viewerId)}`;
}

/** One page of the saved posts that the viewer may still see, the latest saved first. */
export function listSaved(
  db: Db,
  viewerId: string,
  { collectionId, ...page }: { collectionId: string | null; limit: number; after: Position | null },
): Promise<BoundedPage<Position>> {
  return boundedPage(
    db,
    {
      from:
        collectionId === null
          ? sql`saves WHERE user_id = ${viewerId}::uuid`
          : sql`collection_posts WHERE collection_id = ${collectionId}::uuid`,
      columns: sql`created_at, post_id`,
      at: "created_at",
      id: "post_id",
      seen: stillSeen(viewerId),
      page: sql`entries.*`,
      shown: sql`page.created_at AS at, page.post_id AS id`,
    },
    page,
  );
}

/** The latest posts of a collection that are looked at to count it. That many is the highest `post_count`. */
export const POSTS_COUNTED = 100;

export type CollectionRow = Pick<Selectable<CollectionsTable>, "id" | "name" | "created_at"> & { post_count: number };

/** One page of a viewer's collections, the latest made first. */
export async function listCollections(
  db: Db,
  viewerId: string,
  options: { limit: number; after: Position | null },
): Promise<CollectionRow[]> {
  const { limit, after } = options;
  const { rows } = await sql<CollectionRow>`
    SELECT id, name, created_at, ${postCount(viewerId)} AS post_count FROM collections
    WHERE user_id = ${viewerId}::uuid
      ${after ? sql`AND (created_at, id) < (${after.at}, ${after.id}::uuid)` : sql``}
    ORDER BY created_at DESC, id DESC LIMIT ${limit}`.execute(db);
  return rows;
}

/** By the condition of `listSaved`: another one would tell a block from a deletion. */
function postCount(viewerId: string): RawBuilder<number> {
  return sql<number>`(
    SELECT count(*)::int FROM (
      SELECT post_id FROM collection_posts WHERE collection_id = collections.id
      ORDER BY created_at DESC, post_id DESC LIMIT ${POSTS_COUNTED}
    ) AS entries ${stillSeen(viewerId)})`;
}

/** The collection of that name with its count, which `collectionIdByName` is without. */
export async function collectionByName(db: Db, userId: string, folded: string): Promise<CollectionRow | undefined> {
  const { rows } = await sql<CollectionRow>`
    SELECT id, name, created_at, ${postCount(userId)} AS post_count FROM collections
    WHERE user_id = ${userId}::uuid AND folded = ${folded}`.execute(db);
  return rows[0];
}

export async function collectionIdByName(db: Db, userId: string, folded: string): Promise<string | undefined> {
  const row = await db
    .selectFrom("collections")
    .select("id")
    .where("user_id", "=", userId)
    .where("folded", "=", folded)
    .executeTakeFirst();
  return row?.id;
}

/** The collection's id, held against deletion until the transaction ends. */
export async function holdCollection(tx: Tx, userId: string, folded: string): Promise<string | undefined> {
  const row = await tx
    .selectFrom("collections")
    .select("id")
    .where("user_id", "=", userId)
    .where("folded", "=", folded)
    .forKeyShare()
    .executeTakeFirst();
  return row?.id;
}

export async function countCollections(tx: Tx, userId: string): Promise<number> {
  const { count } = await tx
    .selectFrom("collections")
    .select(sql<number>`count(*)::int`.as("count"))
    .where("user_id", "=", userId)
    .executeTakeFirstOrThrow();
  return count;
}

export async function insertCollection(
  tx: Tx,
  collection: Pick<CollectionsTable, "id" | "user_id" | "name" | "folded">,
): Promise<void> {
  await tx.insertInto("collections").values(collection).execute();
}

export async function renameCollection(
  tx: Tx,
  userId: string,
  folded: string,
  name: { name: string; folded: string },
): Promise<void> {
  await tx.updateTable("collections").set(name).where("user_id", "=", userId).where("folded", "=", folded).execute();
}

/** @returns whether there was one of that name. */
export async function deleteCollection(db: Db, userId: string, folded: string): Promise<boolean> {
  const { numDeletedRows } = await db
    .deleteFrom("collections")
    .where("user_id", "=", userId)
    .where("folded", "=", folded)
    .executeTakeFirst();
  return numDeletedRows > 0n;
}
