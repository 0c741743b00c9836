import { createHash } from "node:crypto";
import type pg from "pg";
import { sessionByToken } from "../../plugins/accounts/session-store.ts";
import { feedPage } from "../../plugins/feed/store.ts";
import { listPeople } from "../../plugins/graph/store.ts";
import { listPublished, postsByIds } from "../../plugins/posts/store.ts";
import type { Db } from "../../src/db/transaction.ts";
import { decodeCursor, encodeCursor, type Position } from "../../src/http/paging.ts";
import { type Dataset, VIEWERS, type ViewerName } from "./dataset.ts";
import { type Explained, explain, type RecordingDatabase } from "./explain.ts";

/** A query, explained where it starts and, for a list, where it is deep. */
export interface Measured {
  name: string;
  pages: [PageMeasured, ...PageMeasured[]];
}

export interface PageMeasured {
  page: number;
  /** Where the page before ended. */
  after: Position | null;
  explained: Explained;
}

type ReadPage = (db: Db, request: { limit: number; after: Position | null }) => Promise<Position[]>;

const LIMIT = 20;
const DEEP = 1_000;
/** Pages are asked for with one row more, by which the server knows that there is a next one. */
const ASKED = LIMIT + 1;

/** Page 1 and page 1,000 of each viewer's feed, or the last page of one that is shorter. */
export async function measureFeeds(database: RecordingDatabase, dataset: Dataset): Promise<Measured[]> {
  const measured: Measured[] = [];
  for (const name of viewerNames()) {
    const { pages, ids } = await measureList(database, feedOf(dataset, name));
    await assertFeed(database.pool, dataset.viewers[name].id, ids);
    measured.push({ name: `feed, ${name}`, pages });
  }
  return measured;
}

/**
 * The pages of `feeds` once more, when a fifth of the posts and of the follows, the latest, were written since the last
 * VACUUM: autovacuum waits that long by default.
 */
export async function measureStaleFeeds(
  database: RecordingDatabase,
  dataset: Dataset,
  feeds: readonly Measured[],
): Promise<Measured[]> {
  for (const [table, time] of [
    ["posts", "published_at"],
    ["follows", "created_at"],
  ]) {
    await database.pool.query(`UPDATE ${table} SET ${time} = ${time} WHERE ${time} > now() - interval '146 days'`);
    await database.pool.query(`ANALYZE ${table}`);
  }
  const measured: Measured[] = [];
  for (const [index, name] of viewerNames().entries()) {
    const [first, deep] = feeds[index]?.pages ?? [];
    if (!first) continue;
    const again = ({ page, after }: PageMeasured) => explainPage(database, feedOf(dataset, name), page, after);
    measured.push({
      name: `feed, ${name}, a fifth not vacuumed`,
      pages: deep ? [await again(first), await again(deep)] : [await again(first)],
    });
  }
  return measured;
}

/** What else a page of the feed or of a profile asks for. */
export async function measureLists(
  database: RecordingDatabase,
  { firstAccountId, viewers }: Dataset,
): Promise<Measured[]> {
  const viewer = viewers.busy;
  const ids = (await feedPage(database.db, viewer.id, { limit: ASKED, after: null })).map((row) => row.id);
  const follows =
    (userId: string, list: "followers" | "following"): ReadPage =>
    async (db, request) =>
      (await listPeople(db, viewer.id, { userId, list, ...request })).map((row) => ({ at: row.listed_at, id: row.id }));
  const list = async (name: string, read: ReadPage): Promise<Measured> => ({
    name,
    pages: (await measureList(database, read)).pages,
  });
  const single = async (name: string, query: (db: Db) => Promise<unknown>): Promise<Measured> => ({
    name,
    pages: [{ page: 1, after: null, explained: await explain(database, query) }],
  });
  // Its use is noted once a minute, by a statement of its own.
  await sessionByToken(database.db, sha256(viewer.token), SESSION_LIFETIME);
  return [
    await list("author's grid, the busiest", async (db, request) =>
      positions(await listPublished(db, { userId: firstAccountId, ...request })),
    ),
    await list("followers, the most", follows(firstAccountId, "followers")),
    await list("following, 2,000", follows(viewer.id, "following")),
    await single(`${ids.length} posts by their ids`, (db) => postsByIds(db, viewer.id, ids)),
    await single("session of a token", (db) => sessionByToken(db, sha256(viewer.token), SESSION_LIFETIME)),
  ];
}

const SESSION_LIFETIME = 24 * 3_600_000;

const viewerNames = () => Object.keys(VIEWERS) as ViewerName[];

const feedOf =
  ({ viewers }: Dataset, name: ViewerName): ReadPage =>
  async (db, request) =>
    positions(await feedPage(db, viewers[name].id, request));

const positions = (rows: Array<{ id: string; published_at: Date }>): Position[] =>
  rows.map((row) => ({ at: row.published_at, id: row.id }));

/** Walks to the deep page as a client does, cursor by cursor, then explains the first page and the last that it saw. */
async function measureList(
  database: RecordingDatabase,
  read: ReadPage,
): Promise<{ pages: Measured["pages"]; ids: string[] }> {
  const ids: string[] = [];
  let after: Position | null = null;
  let page = 1;
  for (;;) {
    const rows: Position[] = await read(database.db, { limit: ASKED, after });
    const shown = rows.slice(0, LIMIT);
    ids.push(...shown.map((row) => row.id));
    const last = rows.length > LIMIT ? shown.at(-1) : undefined;
    if (!last || page === DEEP) break;
    after = decodeCursor(encodeCursor(last));
    page += 1;
  }
  const first = await explainPage(database, read, 1, null);
  return { pages: page === 1 ? [first] : [first, await explainPage(database, read, page, after)], ids };
}

async function explainPage(
  database: RecordingDatabase,
  read: ReadPage,
  page: number,
  after: Position | null,
): Promise<PageMeasured> {
  return { page, after, explained: await explain(database, (db) => read(db, { limit: ASKED, after })) };
}

/** Whether the feed was right is known from the plainest statement that says what a feed is. */
async function assertFeed(pool: pg.Pool, viewerId: string, ids: readonly string[]): Promise<void> {
  const { rows } = await pool.query<{ id: string }>(
    `SELECT id FROM posts WHERE status = 'published'
       AND (user_id = $1 OR user_id IN (SELECT following_id FROM follows WHERE follower_id = $1))
     ORDER BY published_at DESC, id DESC LIMIT $2`,
    [viewerId, LIMIT * DEEP],
  );
  const wrong = rows.findIndex((row, index) => row.id !== ids[index]);
  if (wrong >= 0) throw new Error(`the feed is wrong at post ${wrong + 1}`);
  if (rows.length !== ids.length) throw new Error(`the feed has ${ids.length} posts, not ${rows.length}`);
}

const sha256 = (text: string) => createHash("sha256").update(text).digest();
