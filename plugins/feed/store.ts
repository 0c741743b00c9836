import { type Generated, type RawBuilder, sql } from "kysely";
import type { Db } from "../../src/db/transaction.ts";
import type { Position } from "../../src/http/paging.ts";
import { feedAuthors, followedAuthors } from "../graph/index.ts";
import type { PublishedPosition } from "../posts/index.ts";

export interface PulledAuthorsTable {
  user_id: string;
  pulled_since: Date;
  returned_xid: string | null;
}

export interface TimelineRebuildsTable {
  singleton: Generated<boolean>;
  run_id: string;
  epoch: string;
  started_at: Generated<Date>;
  after_id: string | null;
  rebuilt: Generated<number>;
}

declare module "../../src/db/schema.ts" {
  interface Schema {
    pulled_authors: PulledAuthorsTable;
    timeline_rebuilds: TimelineRebuildsTable;
  }
}

export interface PageOptions {
  limit: number;
  after: Position | null;
}

/** One page of the viewer's feed: posts of those whom the viewer follows and has not muted, and of the viewer, latest first. */
export async function feedPage(db: Db, viewerId: string, options: PageOptions): Promise<PublishedPosition[]> {
  const { rows } = await latestOf(feedAuthors(viewerId), options).execute(db);
  return rows;
}

/**
 * What is pushed to the viewer's timeline: the feed without those who are pulled, but with those who vanished, who may
 * come back. Whoever is pulled since this moment is in it: other servers may not know yet that they have to pull.
 * @returns the latest as packed entries (entries.ts): 500 rows took Node 4 ms to read.
 */
export async function timelineEntries(db: Db, viewerId: string, limit: number): Promise<Buffer> {
  const authors = sql<{ id: string }>`
    ${followedAuthors(viewerId)} AND NOT EXISTS (SELECT FROM pulled_authors
      WHERE user_id = following_id AND returned_xid IS NULL AND ${settled(sql`now()`)})
    UNION ALL SELECT ${viewerId}::uuid`;
  const { rows } = await sql<{ entries: Buffer | null }>`
    SELECT string_agg(int8send((extract(epoch FROM published_at) * 1000)::bigint) || uuid_send(id), ''
      ORDER BY published_at DESC, id DESC) AS entries
    FROM (${latestOf(authors, { limit, after: null })}) AS page`.execute(db);
  return rows[0]?.entries ?? Buffer.alloc(0);
}

/** Seconds after which every server knows of an author that has to be pulled. */
const PULL_GRACE = 10;

/** Whether an author of pulled_authors was pulled long enough before `at` that every server knew. */
export function settled(at: RawBuilder<unknown>): RawBuilder<boolean> {
  return sql<boolean>`pulled_since + ${PULL_GRACE} * interval '1 second' < ${at}`;
}

/** Where a page has fewer authors than posts, one in so many of its posts is looked up of each of them first. */
const GUESSES = 25;

/**
 * One page of the posts of these authors, latest first.
 *
 * A page of `limit` posts has at most `limit` authors: those whose latest posts (older than `after`) are the latest. So one
 * post of each followed account is looked up, and a page only of the few that can be on it. Both are descents of
 * posts_timeline_idx, which holds all that is asked for: a page costs the same however deep it is and however busy or
 * rare the authors are.
 *
 * Nothing on a page is older than any `limit` posts that could be on it. Such are the latest ones of `limit` authors; of
 * fewer authors some posts of each, in case that they make so many. That spares a page of 501, a timeline, from reading 501
 * posts of each author: of 2,000 busy ones 7,530 buffers and not 8,767, in a quarter of the time; of 300 busy ones 2,715 and
 * not 3,205, in a seventh. Pages of 21 and those of rare authors cost the same with it.
 *
 * What lost: a page of each followed account, which reads as many index pages, but takes half as long again, and 4.9 times
 * the buffers when a fifth of the posts came after the last VACUUM, each of them then looked up in the table. A plain join
 * in the order of time is quick for busy accounts and reads half the table for rare ones. Plans: docs/feed-plans.md.
 */
export function latestOf(
  accounts: RawBuilder<{ id: string }>,
  { limit, after }: PageOptions,
): RawBuilder<PublishedPosition> {
  const older = after ? sql`AND (published_at, id) < (${after.at}, ${after.id}::uuid)` : sql``;
  const some = Math.ceil(limit / GUESSES);
  // MATERIALIZED keeps the plan's shape whatever the statistics say: accounts outside, descents inside.
  return sql<PublishedPosition>`
    WITH accounts AS MATERIALIZED (
      ${accounts}
    ), authors AS MATERIALIZED (
      SELECT accounts.id, latest.published_at FROM accounts
      CROSS JOIN LATERAL (
        SELECT id, published_at FROM posts
        WHERE user_id = accounts.id AND status = 'published' ${older}
        ORDER BY published_at DESC, id DESC LIMIT 1
      ) AS latest
      ORDER BY latest.published_at DESC, latest.id DESC LIMIT ${limit}
    ), guess AS MATERIALIZED (
      SELECT post.published_at FROM authors
      CROSS JOIN LATERAL (
        SELECT published_at FROM posts
        WHERE user_id = authors.id AND status = 'published' ${older}
        ORDER BY published_at DESC LIMIT ${some}
      ) AS post
      WHERE (SELECT count(*) FROM authors) * ${some} >= ${limit}
      ORDER BY post.published_at DESC LIMIT ${limit}
    )
    SELECT post.id, post.published_at FROM authors
    CROSS JOIN LATERAL (
      SELECT id, published_at FROM posts
      WHERE user_id = authors.id AND status = 'published' ${older}
        AND published_at >= coalesce(
          (SELECT min(published_at) FROM authors HAVING count(*) = ${limit}),
          (SELECT min(published_at) FROM guess HAVING count(*) = ${limit}), '-infinity')
      ORDER BY published_at DESC, id DESC LIMIT ${limit}
    ) AS post
    ORDER BY post.published_at DESC, post.id DESC LIMIT ${limit}`;
}

/** Where a walk over an author's followers stands: the latest follow comes first. */
export type FollowersPlace = Position | null;

/** Some followers of an author, by the last byte of their ids, and where the next ones begin; null after the last. */
export interface Followers {
  count: number;
  byTag: string[][];
  next: FollowersPlace;
}

/** Characters of a UUID. */
const UUID = 36;

/**
 * The next `limit` followers, for as long as the post is published: none if it is gone. Postgres puts the ids of one tag
 * together: a row a follower took Node twice as long to read.
 */
export async function followersOf(
  db: Db,
  options: { authorId: string; postId: string | null; after: FollowersPlace; limit: number },
): Promise<Followers> {
  const { authorId, postId, after, limit } = options;
  const { rows } = await sql<{ ids: string; last_at: Date; last_id: string }>`
    WITH page AS MATERIALIZED (
      SELECT follower_id, created_at FROM follows
      WHERE following_id = ${authorId}
        ${postId === null ? sql`` : sql`AND EXISTS (SELECT FROM posts WHERE id = ${postId} AND status = 'published')`}
        ${after ? sql`AND (created_at, follower_id) < (${after.at}, ${after.id}::uuid)` : sql``}
      ORDER BY created_at DESC, follower_id DESC LIMIT ${limit}
    ), last AS (
      SELECT created_at AS last_at, follower_id AS last_id FROM page ORDER BY created_at, follower_id LIMIT 1
    )
    SELECT string_agg(follower_id::text, '') AS ids, last_at, last_id
    FROM page CROSS JOIN last GROUP BY get_byte(uuid_send(follower_id), 15), last_at, last_id`.execute(db);
  const byTag = rows.map(({ ids }) =>
    Array.from({ length: ids.length / UUID }, (_, index) => ids.slice(index * UUID, (index + 1) * UUID)),
  );
  const count = byTag.reduce((sum, ids) => sum + ids.length, 0);
  const [row] = rows;
  return { count, byTag, next: row && count === limit ? { at: row.last_at, id: row.last_id } : null };
}
