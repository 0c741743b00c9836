/**
 * `npm run plans:engagement [-- --write]`: makes a throw-away Postgres with a million likes, explains how posts are liked,
 * counted, listed and saved. `--write` writes docs/engagement-plans.md. Takes some minutes.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { sql } from "kysely";
import type pg from "pg";
import { takeLog } from "../plugins/likes/log-store.ts";
import { countLog, deleteLike, insertLike, likeCounts, listLikers } from "../plugins/likes/store.ts";
import { listCollections, listSaved } from "../plugins/saves/store.ts";
import type { Tx } from "../src/db/transaction.ts";
import type { Position } from "../src/http/paging.ts";
import { withPlansDatabase } from "./plans/database.ts";
import { type Engagement, LOGGED, loadEngagement, ROLLED_UP } from "./plans/engagement.ts";
import { type Explained, explain, type RecordingDatabase, recordingDatabase } from "./plans/explain.ts";

interface Measured {
  name: string;
  explained: Explained;
}

const REPORT = join(import.meta.dirname, "../docs/engagement-plans.md");
const PAGE = { limit: 21, after: null };

const say = (line: string) => process.stdout.write(`${line}\n`);
const count = (value: number) => value.toLocaleString("en");

async function measureChanges(database: RecordingDatabase, set: Engagement): Promise<Measured[]> {
  const { viewer, fan, first, few, author } = set;
  const unlike = (id: string) => `DELETE FROM likes WHERE user_id = '${viewer}' AND post_id = '${id}'`;
  const forget = `DELETE FROM like_log WHERE user_id IN ('${viewer}', '${fan}')`;
  const likeAgain = `INSERT INTO likes (user_id, post_id) VALUES ('${fan}', '${first}') ON CONFLICT DO NOTHING`;
  const both = (one: string) => `${one}; ${forget}`;
  const rollUp = `INSERT INTO like_log (post_id, author_id, user_id, delta)
    SELECT '${first}', '${author}', user_id, 1 FROM likes WHERE post_id = '${first}' LIMIT 1000`;
  return [
    {
      name: "a like of the post that most like",
      explained: await explain(database, (db) => insertLike(db, viewer, first), both(unlike(first))),
    },
    {
      name: "a like of one that few like",
      explained: await explain(database, (db) => insertLike(db, viewer, few), both(unlike(few))),
    },
    { name: "a like of what is liked already", explained: await explain(database, (db) => insertLike(db, fan, first)) },
    {
      name: "an unlike",
      explained: await explain(database, (db) => deleteLike(db, fan, first), both(likeAgain)),
    },
    {
      name: "1,000 rows taken off the log",
      explained: await explain(database, (db) => takeLog(db as Tx, { authorId: null, limit: 1_000 }), rollUp),
    },
  ];
}

async function measureReads(database: RecordingDatabase, set: Engagement): Promise<Measured[]> {
  const { viewer, saver, collection, first, few, posts } = set;
  const { rows: before } = await sql<Position>`
    SELECT created_at AS at, user_id AS id FROM likes WHERE post_id = ${first}
    ORDER BY created_at DESC, user_id DESC OFFSET 19999 LIMIT 1`.execute(database.db);
  const after = before[0];
  if (!after) throw new Error("too few like the first post");
  const deep = { limit: 21, after };
  const one = async (name: string, query: Parameters<typeof explain>[1]): Promise<Measured> => ({
    name,
    explained: await explain(database, query),
  });
  return [
    await one("count of the post that most like", (db) => likeCounts(db, [first])),
    await one("count of one that few like", (db) => likeCounts(db, [few])),
    await one("counts of 200 posts", (db) => likeCounts(db, posts)),
    await one("length of the log", (db) => countLog(db, 50_001)),
    await one("who likes the post that most like", (db) => listLikers(db, viewer, { postId: first, ...PAGE })),
    await one("the same, page 1,001", (db) => listLikers(db, viewer, { postId: first, ...deep })),
    await one("saved posts", (db) => listSaved(db, saver, { collectionId: null, ...PAGE })),
    await one("saved posts of a collection", (db) => listSaved(db, saver, { collectionId: collection, ...PAGE })),
    await one("collections, one of them with 10,000 posts", (db) =>
      listCollections(db, saver, { ...PAGE, limit: 201 }),
    ),
  ];
}

/** As it is between two VACUUMs, which the log's settings make come after 20,000 rows: here far more. */
async function measureUsed(database: RecordingDatabase, pool: pg.Pool, set: Engagement): Promise<Measured[]> {
  const { first, author, viewer } = set;
  await pool.query(
    `INSERT INTO like_log (post_id, author_id, user_id, delta) SELECT '${first}', '${author}', '${viewer}', 1 FROM generate_series(1, ${ROLLED_UP})`,
  );
  await pool.query(`DELETE FROM like_log WHERE user_id = '${viewer}'`);
  return [
    { name: "count of the post that most like", explained: await explain(database, (db) => likeCounts(db, [first])) },
    { name: "length of the log", explained: await explain(database, (db) => countLog(db, 50_001)) },
  ];
}

function table(measured: readonly Measured[]): string {
  const lines = measured.map(
    ({ name, explained }) => `| ${[name, count(explained.buffers), explained.milliseconds.toFixed(2)].join(" | ")} |`,
  );
  return `| | buffers | ms |\n|---|---|---|\n${lines.join("\n")}`;
}

/** Without what was planned and never run. */
function planOf({ name, explained }: Measured): string {
  const ran = explained.plan.split("\n").filter((line) => !line.includes("loops 0, "));
  return `${name}:\n\n\`\`\`text\n${ran.join("\n")}\n\`\`\``;
}

function renderReport(options: {
  set: Engagement;
  changes: readonly Measured[];
  reads: readonly Measured[];
  used: readonly Measured[];
  version: string;
}): string {
  const { set, changes, reads, used, version } = options;
  return `# Plans of likes and saves

Measured on ${new Date().toISOString().slice(0, 10)} with Postgres ${version}; written by \`npm run plans:engagement -- --write\`. A buffer is a page of
8 KiB that a statement asked for, found in memory or not; the milliseconds are of one machine that did other things too.

100,000 accounts, as many posts, ${count(set.likes)} likes by Zipf's law, ${count(set.likesOfFirst)} of them of one post, and a log of ${count(LOGGED)} rows of which half
are of that post. Somebody has saved 10,000 posts, all of them in one of 200 collections.

## Changes

A like finds the post, asks whether the viewer may see it, and writes one row each to the likes and the log, in one statement. How many
like the post makes no difference.

${table(changes)}

## Reads

${table(reads)}

## The log in use

After ${count(ROLLED_UP)} more rows were rolled up, before any VACUUM. The first who passes the entries of rows that are gone marks them in the
index, so that those who come later need not look them up.

${table(used)}

## Shortened plans

Rows are those of one loop; buffers are of all loops and include a node's children.

${[...changes, ...reads].map(planOf).join("\n\n")}
`;
}

const { values } = parseArgs({ options: { write: { type: "boolean", default: false } } });
await withPlansDatabase(async (pool, version) => {
  say("loading");
  const set = await loadEngagement(pool);
  const database = recordingDatabase(pool);
  say("explaining");
  const changes = await measureChanges(database, set);
  const reads = await measureReads(database, set);
  const used = await measureUsed(database, pool, set);
  for (const { name, explained } of [...changes, ...reads, ...used]) say(`\n${name}\n${explained.text}`);
  say(`\n${[changes, reads, used].map(table).join("\n\n")}`);
  if (values.write) await writeFile(REPORT, renderReport({ set, changes, reads, used, version }));
});
