import { type ColumnType, type Generated, type RawBuilder, type Selectable, sql } from "kysely";
import type { Db, Tx } from "../../src/db/transaction.ts";
import type { Position } from "../../src/http/paging.ts";
import type { UserRow } from "../accounts/index.ts";
import { mentionedNames, type StoredEntity } from "../entities/index.ts";
import { mayBeSeenBy } from "../graph/index.ts";
import type { Failure, MediumRow, ShownMedium, TakenMedium } from "../media/index.ts";
import { commentCountOf, type Engagement, isLikedBy, isSavedBy, likeCountOf } from "./engagement.ts";

export interface PostsTable {
  id: string;
  user_id: string;
  caption: string | null;
  status: "processing" | "published" | "failed";
  failure_code: string | null;
  failure_message: string | null;
  created_at: Generated<Date>;
  published_at: Date | null;
  comments_closed: Generated<boolean>;
  /** Written as JSON text. */
  caption_entities: ColumnType<StoredEntity[], string | undefined, string>;
  caption_parses: Generated<number>;
  caption_told: Generated<string[]>;
}

export interface PostMediaTable {
  post_id: string;
  position: number;
  medium_id: string;
}

declare module "../../src/db/schema.ts" {
  interface Schema {
    posts: PostsTable;
    post_media: PostMediaTable;
  }
}

/** Columns that are shown to nobody. */
type CaptionBookkeeping = "caption_parses" | "caption_told";

/** A post with all that is shown of it, its media in their order. */
export interface PostRow extends Omit<Selectable<PostsTable>, "user_id" | CaptionBookkeeping>, Engagement {
  author: UserRow;
  media: ShownMedium[];
  /** Names by id of those whom the caption mentions and the viewer may know. */
  mentioned: Record<string, string>;
}

export async function insertPost(
  tx: Tx,
  post: { id: string; user_id: string; caption: string | null; entities: readonly StoredEntity[] },
  mediumIds: readonly string[],
): Promise<void> {
  const { id, user_id, caption, entities } = post;
  await tx
    .insertInto("posts")
    .values({
      ...{ id, user_id, caption, caption_entities: JSON.stringify(entities), caption_parses: 1 },
      status: "processing",
    })
    .execute();
  await tx
    .insertInto("post_media")
    .values(mediumIds.map((medium_id, position) => ({ post_id: id, position, medium_id })))
    .execute();
}

/**
 * The posts of these ids that the viewer may see, in the order of the ids: published ones of people whom the viewer may see, and
 * the viewer's own in any state. One round trip, whatever the number of posts.
 */
export async function postsByIds(db: Db, viewerId: string, ids: readonly string[]): Promise<PostRow[]> {
  if (ids.length === 0) return [];
  const { rows } = await sql<PostRow>`
    SELECT posts.id, posts.caption, posts.status, posts.failure_code, posts.failure_message, posts.created_at, posts.published_at,
      posts.comments_closed, posts.caption_entities, ${mentionedNames(viewerId, "posts.caption_entities")} AS mentioned,
      ${likeCountOf("posts.id")} AS like_count, ${commentCountOf("posts.id")} AS comment_count,
      ${isLikedBy(sql`${viewerId}::uuid`, "posts.id")} AS liked_by_me,
      ${isSavedBy(sql`${viewerId}::uuid`, "posts.id")} AS saved_by_me,
      json_build_object('id', users.id, 'username', users.username, 'display_name', users.display_name,
        'is_private', users.is_private, 'avatar_id', users.avatar_id) AS author,
      ${shownMedia()} AS media
    FROM unnest(${ids}::uuid[]) WITH ORDINALITY AS wanted (id, place)
    JOIN posts ON posts.id = wanted.id
    JOIN users ON users.id = posts.user_id
    WHERE (posts.status = 'published' OR posts.user_id = ${viewerId}) AND ${mayBeSeenBy(viewerId)}
    ORDER BY wanted.place`.execute(db);
  return rows;
}

/** The media of a post of the query, in their order, as JSON. */
export function shownMedia(): RawBuilder<ShownMedium[]> {
  return sql`
    (SELECT coalesce(json_agg(json_build_object('id', media.id, 'state', media.state, 'alt_text', media.alt_text,
              'width', media.width, 'height', media.height, 'thumbhash', media.thumbhash) ORDER BY post_media.position), '[]')
     FROM post_media JOIN media ON media.id = post_media.medium_id WHERE post_media.post_id = posts.id)`;
}

export interface PublishedPosition {
  id: string;
  published_at: Date;
}

/** One page of an author's published posts, latest first. */
export async function listPublished(
  db: Db,
  options: { userId: string; limit: number; after: Position | null },
): Promise<PublishedPosition[]> {
  const { userId, limit, after } = options;
  const { rows } = await sql<PublishedPosition>`
    SELECT id, published_at FROM posts
    WHERE user_id = ${userId} AND status = 'published'
      ${after ? sql`AND (published_at, id) < (${after.at}, ${after.id}::uuid)` : sql``}
    ORDER BY published_at DESC, id DESC LIMIT ${limit}`.execute(db);
  return rows;
}

export async function postIdOfMedium(tx: Tx, mediumId: string): Promise<string | undefined> {
  const row = await tx.selectFrom("post_media").select("post_id").where("medium_id", "=", mediumId).executeTakeFirst();
  return row?.post_id;
}

/** The post, held against every other change until the transaction ends. */
export async function lockPost(
  tx: Tx,
  id: string,
): Promise<
  Pick<Selectable<PostsTable>, "user_id" | "status" | "published_at" | "caption_entities" | "caption_told"> | undefined
> {
  return tx
    .selectFrom("posts")
    .select(["user_id", "status", "published_at", "caption_entities", "caption_told"])
    .where("id", "=", id)
    .forUpdate()
    .executeTakeFirst();
}

/** The media of a post in their order, with what became of them. */
export async function mediaOfPost(
  tx: Tx,
  postId: string,
): Promise<Array<{ id: string; state: string; failure_code: string | null; failure_message: string | null }>> {
  return tx
    .selectFrom("post_media")
    .innerJoin("media", "media.id", "post_media.medium_id")
    .select(["media.id", "media.state", "media.failure_code", "media.failure_message"])
    .where("post_media.post_id", "=", postId)
    .orderBy("post_media.position")
    .execute();
}

/** `published_at` is the time of this statement and not of the transaction's beginning: nothing may wait after it. */
export async function markPublished(tx: Tx, id: string): Promise<Date> {
  const { published_at } = await tx
    .updateTable("posts")
    .set({ status: "published", published_at: sql<Date>`clock_timestamp()`, failure_code: null, failure_message: null })
    .where("id", "=", id)
    .returning(sql<Date>`published_at`.as("published_at"))
    .executeTakeFirstOrThrow();
  return published_at;
}

export async function markProcessing(tx: Tx, id: string): Promise<void> {
  await tx
    .updateTable("posts")
    .set({ status: "processing", failure_code: null, failure_message: null })
    .where("id", "=", id)
    .execute();
}

export async function markFailed(tx: Tx, id: string, failure: Failure): Promise<void> {
  await tx
    .updateTable("posts")
    .set({ status: "failed", failure_code: failure.code, failure_message: failure.message })
    .where("id", "=", id)
    .execute();
}

/** @param changes at least one. A caption comes with its entities, as JSON; without them it is one that is not parsed. */
export async function updatePost(
  tx: Tx,
  id: string,
  changes: { caption?: string | null; caption_entities?: string; caption_told?: string[]; comments_closed?: boolean },
): Promise<void> {
  const parsed = changes.caption_entities === undefined ? {} : { caption_parses: sql<number>`caption_parses + 1` };
  await tx
    .updateTable("posts")
    .set({ ...changes, ...parsed })
    .where("id", "=", id)
    .execute();
}

export type CaptionedPost = Pick<PostsTable, "caption" | "published_at"> & {
  post_id: string;
  author_id: string;
  caption_entities: StoredEntity[];
  caption_parses: number;
};

/** A page of posts in any state, by id, held against other changes of their captions until the transaction ends. */
export async function holdCaptions(tx: Tx, after: string, limit: number): Promise<CaptionedPost[]> {
  const { rows } = await sql<CaptionedPost>`
    SELECT id AS post_id, user_id AS author_id, published_at, caption, caption_entities, caption_parses FROM posts
    WHERE id > ${after} ORDER BY id LIMIT ${limit} FOR NO KEY UPDATE`.execute(tx);
  return rows;
}

export async function deletePost(tx: Tx, id: string): Promise<void> {
  await tx.deleteFrom("posts").where("id", "=", id).execute();
}

/** Some of an author's posts in any state, held against every other change until the transaction ends. */
export async function lockSomePosts(
  tx: Tx,
  userId: string,
  limit: number,
): Promise<Pick<Selectable<PostsTable>, "id" | "published_at">[]> {
  return tx
    .selectFrom("posts")
    .select(["id", "published_at"])
    .where("user_id", "=", userId)
    .orderBy("id")
    .limit(limit)
    .forUpdate()
    .execute();
}

export async function deletePosts(tx: Tx, ids: readonly string[]): Promise<void> {
  await tx.deleteFrom("posts").where("id", "in", ids).execute();
}

/** A post as its author takes it along. */
export interface KeptPost extends Omit<Selectable<PostsTable>, "user_id" | "caption_entities" | CaptionBookkeeping> {
  media: (TakenMedium & Pick<MediumRow, "alt_text" | "width" | "height">)[];
}

/** One page of an author's posts in any state, by id. */
export async function keptPosts(db: Db, userId: string, after: string, limit: number): Promise<KeptPost[]> {
  const { rows } = await sql<KeptPost>`
    SELECT id, caption, status, failure_code, failure_message, created_at, published_at, comments_closed,
      (SELECT coalesce(json_agg(json_build_object('id', media.id, 'content_type', media.content_type,
                'alt_text', media.alt_text, 'width', media.width, 'height', media.height,
                'original_kept', media.original_dropped_at IS NULL) ORDER BY post_media.position), '[]')
       FROM post_media JOIN media ON media.id = post_media.medium_id WHERE post_media.post_id = posts.id) AS media
    FROM posts WHERE user_id = ${userId} AND id > ${after} ORDER BY id LIMIT ${limit}`.execute(db);
  return rows;
}
