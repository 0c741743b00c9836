import { cards } from "../../plugins/accounts/cards.ts";
import { isPulledOnly, PulledList, settlePull } from "../../plugins/feed/pulled.ts";
import { type Followers, feedPage, followersOf, timelineEntries } from "../../plugins/feed/store.ts";
import { CAPACITY } from "../../plugins/feed/timeline-scripts.ts";
import { viewerSnapshot } from "../../plugins/graph/snapshot.ts";
import { features } from "../../plugins/index.ts";
import { hotPosts } from "../../plugins/posts/hot-posts.ts";
import { listPublished } from "../../plugins/posts/store.ts";
import { loadConfig } from "../../src/config/load.ts";
import { type Db, inTransaction } from "../../src/db/transaction.ts";
import { createNotices } from "../../src/notices.ts";
import { openEpoch } from "../../src/redis/epoch.ts";
import type { Dataset } from "./dataset.ts";
import { type Explained, explain, type RecordingDatabase } from "./explain.ts";

/** A query that is asked for once. */
export interface Single {
  name: string;
  explained: Explained;
}

/** What is read at once to build a timeline: it says by one entry more whether there are others. */
const WHOLE = CAPACITY + 1;
const PAGE = 20;
/** Of a fan-out. */
const CHUNK = 10_000;
const LATER_CHUNK = 5;

/** What Postgres is asked for where timelines lie in Redis. */
export async function measureHot(database: RecordingDatabase, dataset: Dataset): Promise<Single[]> {
  const { viewers, firstAccountId: author_id } = dataset;
  const { db } = database;
  const [latest] = await listPublished(db, { userId: author_id, limit: 1, after: null });
  if (!latest) throw new Error("the busiest author has no post");
  const post = { author_id, published_at: latest.published_at };
  const followers = (after: Followers["next"]) => (on: Db) =>
    followersOf(on, { authorId: author_id, postId: latest.id, after, limit: CHUNK });
  let later: Followers["next"] = null;
  for (let chunk = 1; chunk < LATER_CHUNK; chunk++) later = (await followers(later)(db)).next;
  const timeline = await feedPage(db, viewers.average.id, { limit: PAGE, after: null });
  const authors = await db
    .selectFrom("posts")
    .select("user_id")
    .where(
      "id",
      "in",
      timeline.map(({ id }) => id),
    )
    .execute();
  const queries: Record<string, (on: Db) => Promise<unknown>> = {
    "followers to push to, chunk 1": followers(null),
    [`followers to push to, chunk ${LATER_CHUNK}`]: followers(later),
    "timeline to build, busy": (on) => timelineEntries(on, viewers.busy.id, WHOLE),
    "timeline to build, average": (on) => timelineEntries(on, viewers.average.id, WHOLE),
    "timeline to build, rare": (on) => timelineEntries(on, viewers.rare.id, WHOLE),
    "author's list to build, the busiest": (on) => listPublished(on, { userId: author_id, limit: WHOLE, after: null }),
    "a viewer's relations, 2,000 follows": (on) => viewerSnapshot(on, viewers.busy.id),
    [`posts to show, ${PAGE}`]: (on) => hotPosts(uncached(on)).get(timeline.map(({ id }) => id)),
    [`authors to show, ${PAGE} at most`]: (on) =>
      cards(uncached(on)).get([...new Set(authors.map((row) => row.user_id))]),
    "pulled or pushed, decided with a post": (on) =>
      inTransaction(on, (tx) => settlePull(tx, { config, notices: createNotices().notices }, author_id)),
    "whether an author is pulled": (on) => isPulledOnly({ db: on }, post),
    "all that are pulled": (on) => new PulledList(uncached(on)).get(),
    "the epoch of Redis": (on) => openEpoch(on).refresh(),
  };
  const measured: Single[] = [];
  for (const [name, query] of Object.entries(queries))
    measured.push({ name, explained: await explain(database, query) });
  return measured;
}

const { config } = loadConfig({
  env: {},
  cwd: import.meta.dirname,
  features: { known: features.map(({ name }) => name), core: [] },
});

/** What a row cache wants, and has not seen a row before. */
const uncached = (db: Db) => ({
  redis: null,
  notices: createNotices().notices,
  bulkhead: { run: <T>(work: (on: Db) => Promise<T>) => work(db), close: async () => undefined },
});
