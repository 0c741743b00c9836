import { type RawBuilder, type Selectable, sql } from "kysely";
import { type BoundedPage, boundedPage } from "../../src/db/bounded-page.ts";
import type { Db } from "../../src/db/transaction.ts";
import type { Position } from "../../src/http/paging.ts";
import type { UserRow } from "../accounts/index.ts";
import { mentionedNames } from "../entities/index.ts";
import { mayBeListedFor, mayBeSeenBy } from "../graph/index.ts";
import type { CommentsTable } from "./store.ts";

/** A comment with all that is shown of it. */
export interface CommentRow extends Omit<Selectable<CommentsTable>, "user_id" | "removed_at"> {
  author: UserRow;
  liked_by_me: boolean;
  /** Names by id of those whom the text mentions and the viewer may know. */
  mentioned: Record<string, string>;
}

/** What is shown of the comments of a query; `comments` and `author` are there. */
function shown(viewerId: string, comments: string): RawBuilder<unknown> {
  const column = (name: string) => sql.ref(`${comments}.${name}`);
  return sql`${column("id")}, ${column("post_id")}, ${column("parent_id")}, ${column("text")}, ${column("entities")},
    ${column("reply_count")}, ${column("like_count")}, ${column("created_at")},
    ${mentionedNames(viewerId, `${comments}.entities`)} AS mentioned,
    EXISTS (SELECT FROM comment_likes WHERE user_id = ${viewerId}::uuid AND comment_id = ${column("id")}) AS liked_by_me`;
}

const AUTHOR = sql`json_build_object('id', author.id, 'username', author.username, 'display_name', author.display_name,
  'is_private', author.is_private, 'avatar_id', author.avatar_id)`;

/** The comments on a post, latest first; or the replies to a comment, oldest first. */
export type CommentList = { post_id: string } | { parent_id: string };

/** One page of what the viewer may be shown. Plans are in docs/comment-plans.md. */
export function listComments(
  db: Db,
  viewerId: string,
  list: CommentList,
  page: { limit: number; after: Position | null },
): Promise<BoundedPage<CommentRow>> {
  const [of, order] =
    "post_id" in list
      ? [sql`post_id = ${list.post_id} AND parent_id IS NULL`, "DESC" as const]
      : [sql`parent_id = ${list.parent_id}`, "ASC" as const];
  return boundedPage(
    db,
    {
      from: sql`comments WHERE ${of}`,
      columns: sql`*`,
      at: "created_at",
      id: "id",
      order,
      seen: sql`JOIN users AS author ON author.id = entries.user_id
        WHERE entries.removed_at IS NULL AND ${mayBeListedFor(viewerId, "author")}`,
      page: sql`entries.*, ${AUTHOR} AS author`,
      shown: sql`${shown(viewerId, "page")}, page.author`,
    },
    page,
  );
}

/**
 * The comment, if the viewer may see its post and is shown its author among others and, where it is a reply, also the
 * author of what it replies to.
 */
export async function findComment(db: Db, viewerId: string, id: string): Promise<CommentRow | undefined> {
  const { rows } = await sql<CommentRow>`
    SELECT ${shown(viewerId, "comments")}, ${AUTHOR} AS author
    FROM comments
    JOIN posts ON posts.id = comments.post_id
    JOIN users AS owner ON owner.id = posts.user_id
    JOIN users AS author ON author.id = comments.user_id
    LEFT JOIN comments AS parent ON parent.id = comments.parent_id
    LEFT JOIN users AS parent_author ON parent_author.id = parent.user_id
    WHERE comments.id = ${id} AND comments.removed_at IS NULL
      AND ${mayBeSeenBy(viewerId, "owner")} AND ${mayBeListedFor(viewerId, "author")}
      AND (parent.id IS NULL OR (parent.removed_at IS NULL AND ${mayBeListedFor(viewerId, "parent_author")}))`.execute(
    db,
  );
  return rows[0];
}

/** The comment, if it is on a post of this account, whoever wrote it. */
export async function findOnPostsOf(
  db: Db,
  authorId: string,
  id: string,
): Promise<{ id: string; post_id: string } | undefined> {
  return db
    .selectFrom("comments")
    .innerJoin("posts", "posts.id", "comments.post_id")
    .select(["comments.id", "comments.post_id"])
    .where("comments.id", "=", id)
    .where("posts.user_id", "=", authorId)
    .executeTakeFirst();
}

export type KeptComment = Omit<Selectable<CommentsTable>, "user_id" | "entities" | "removed_at">;

/** One page of what an account has written, by id. */
export async function keptComments(db: Db, userId: string, after: string, limit: number): Promise<KeptComment[]> {
  const { rows } = await sql<KeptComment>`
    SELECT comments.id, comments.post_id, comments.parent_id, comments.text, comments.reply_count, comments.like_count, comments.created_at
    FROM comments JOIN posts ON posts.id = comments.post_id LEFT JOIN comments AS parent ON parent.id = comments.parent_id
    WHERE comments.user_id = ${userId} AND comments.id > ${after} AND comments.removed_at IS NULL AND parent.removed_at IS NULL
    ORDER BY comments.id LIMIT ${limit}`.execute(db);
  return rows;
}

/** One page of the comments that an account likes, by id. */
export async function keptLikes(
  db: Db,
  userId: string,
  after: string,
  limit: number,
): Promise<{ comment_id: string; liked_at: Date }[]> {
  return db
    .selectFrom("comment_likes")
    .select(["comment_id", "created_at as liked_at"])
    .where("user_id", "=", userId)
    .where("comment_id", ">", after)
    .orderBy("comment_id")
    .limit(limit)
    .execute();
}
