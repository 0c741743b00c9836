import { createHash } from "node:crypto";
import type pg from "pg";
import { viewerByToken } from "../../plugins/accounts/store.ts";
import { feedPage } from "../../plugins/feed/store.ts";
import { listFollows } from "../../plugins/graph/store.ts";
import { listPublished, postsByIds } from "../../plugins/posts/store.ts";
import type { Db } from "../../src/db/transaction.ts";
import { decodeCursor, encodeCursor, type Position } from "../../src/http/paging.ts";
import { type Dataset, VIEWERS, type ViewerName } from "./dataset.ts";
import { type Explained, explain, recordingDb } from "./explain.ts";

/** A query, explained where it starts and, for a list, where it is deep. */
export interface Measured {
  name: string;
  pages: [PageMeasured, ...PageMeasured[]];
}

export interface PageMeasured {
  title: string;
  page: number;
  explained: Explained;
}

type ReadPage = (db: Db, request: { limit: number; after: Position | null }) => Promise<Position[]>;

const LIMIT = 20;
const DEEP = 1_000;
/** Pages are asked for with one row more, by which the server knows that there is a next one. */
const ASKED = LIMIT + 1;

/** Page 1 and page 1,000 of each viewer's feed, or the last page of one that is shorter. */
export async function measureFeeds(pool: pg.Pool, dataset: Dataset): Promise<Measured[]> {
  const measured: Measured[] = [];
  for (const name of viewerNames()) {
    const { pages, walked } = await measureList(pool, `feed, ${name}`, feedOf(dataset, name));
    await assertFeed(pool, dataset.viewers[name].id, walked);
    measured.push({ name, pages });
  }
  return measured;
}

/** The same feeds after a fifth of the posts, the latest, were written since the last VACUUM: by default it waits that long. */
export async function measureStaleFeeds(pool: pg.Pool, dataset: Dataset): Promise<Measured[]> {
  for (const [table, time] of [
    ["posts", "published_at"],
    ["follows", "created_at"],
  ]) {
    await pool.query(`UPDATE ${table} SET ${time} = ${time} WHERE ${time} > now() - interval '146 days'`);
    await pool.query(`ANALYZE ${table}`);
  }
  const measured: Measured[] = [];
  for (const name of viewerNames()) {
    const { pages } = await measureList(pool, `feed, ${name}, a fifth not vacuumed`, feedOf(dataset, name));
    measured.push({ name, pages });
  }
  return measured;
}

/** What else a page of the feed or of a profile asks for. */
export async function measureLists(pool: pg.Pool, { firstAccountId, viewers }: Dataset): Promise<Measured[]> {
  const viewer = viewers.busy;
  const { db } = recordingDb(pool);
  const ids = (await feedPage(db, viewer.id, { limit: ASKED, after: null })).map((row) => row.id);
  const follows =
    (userId: string, list: "followers" | "following"): ReadPage =>
    async (db, request) =>
      (await listFollows(db, { userId, list, ...request })).map((row) => ({ at: row.followed_at, id: row.id }));
  const lists: Array<[string, ReadPage]> = [
    [
      "author's grid, the busiest",
      async (db, request) => positions(await listPublished(db, { userId: firstAccountId, ...request })),
    ],
    ["followers, the most", follows(firstAccountId, "followers")],
    ["following, 2,000", follows(viewer.id, "following")],
  ];
  const measured: Measured[] = [];
  for (const [name, read] of lists) measured.push({ name, pages: (await measureList(pool, name, read)).pages });
  const single = async (title: string, query: (db: Db) => Promise<unknown>): Promise<Measured> => ({
    name: title,
    pages: [{ title, page: 1, explained: await explain(pool, query) }],
  });
  measured.push(
    await single(`${ids.length} posts by their ids`, (db) => postsByIds(db, viewer.id, ids)),
    await single("session of a token", (db) => viewerByToken(db, sha256(viewer.token), 86_400_000)),
  );
  return measured;
}

const viewerNames = () => Object.keys(VIEWERS) as ViewerName[];

const feedOf =
  ({ viewers }: Dataset, name: ViewerName): ReadPage =>
  async (db, request) =>
    positions(await feedPage(db, viewers[name].id, request));

const positions = (rows: Array<{ id: string; published_at: Date }>): Position[] =>
  rows.map((row) => ({ at: row.published_at, id: row.id }));

/** Walks to the deep page as a client does, cursor by cursor, and explains the first and the last that it saw. */
async function measureList(
  pool: pg.Pool,
  name: string,
  read: ReadPage,
): Promise<{ pages: Measured["pages"]; walked: string[] }> {
  const { db } = recordingDb(pool);
  const walked: string[] = [];
  let after: Position | null = null;
  let page = 1;
  for (; page <= DEEP; page++) {
    const rows = await read(db, { limit: ASKED, after });
    const shown = rows.slice(0, LIMIT);
    walked.push(...shown.map((row) => row.id));
    const last = rows.length > LIMIT ? shown.at(-1) : undefined;
    if (!last || page === DEEP) break;
    after = decodeCursor(encodeCursor(last));
  }
  const explained = async (at: Position | null) => explain(pool, (db) => read(db, { limit: ASKED, after: at }));
  const first = { title: `${name}, page 1`, page: 1, explained: await explained(null) };
  const deep = { title: `${name}, page ${page}`, page, explained: await explained(after) };
  return { pages: page === 1 ? [first] : [first, deep], walked };
}

/** That the feed was right is known from the plainest statement that says what a feed is. */
async function assertFeed(pool: pg.Pool, viewerId: string, walked: string[]): Promise<void> {
  const { rows } = await pool.query<{ id: string }>(
    `SELECT id FROM posts WHERE status = 'published'
       AND (user_id = $1 OR user_id IN (SELECT following_id FROM follows WHERE follower_id = $1))
     ORDER BY published_at DESC, id DESC LIMIT $2`,
    [viewerId, LIMIT * DEEP],
  );
  const wrong = rows.findIndex((row, index) => row.id !== walked[index]);
  if (wrong >= 0 || rows.length !== walked.length) throw new Error(`the feed is wrong from post ${wrong} on`);
}

const sha256 = (text: string) => createHash("sha256").update(text).digest();
