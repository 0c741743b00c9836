/**
 * `npm run plans:comments [-- --write]`: makes a throw-away Postgres with a million comments and a million hashtags of
 * posts, explains how they are listed and searched, and what a comment costs. `--write` writes docs/comment-plans.md. Takes
 * some minutes.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type pg from "pg";
import { type CommentList, findComment, listComments } from "../plugins/comments/list-store.ts";
import { findTags, listTagged } from "../plugins/tags/list-store.ts";
import type { Db } from "../src/db/transaction.ts";
import { withPlansDatabase } from "./plans/database.ts";
import { type Explained, explain, type RecordingDatabase, recordingDatabase } from "./plans/explain.ts";
import { loadTalk, type Talk } from "./plans/talk.ts";

interface Measured {
  name: string;
  explained: Explained;
  /** Rows of the page. */
  found: number;
}

const REPORT = join(import.meta.dirname, "../docs/comment-plans.md");
/** One more than a page. */
const LIMIT = 21;

const say = (line: string) => process.stdout.write(`${line}\n`);
const count = (value: number) => value.toLocaleString("en");

async function measure(
  database: RecordingDatabase,
  name: string,
  query: (db: Db) => Promise<readonly unknown[]>,
): Promise<Measured> {
  const found = (await query(database.db)).length;
  return { name, explained: await explain(database, query), found: Math.min(found, LIMIT - 1) };
}

/** Where the page of a list begins that has half of the list before it. */
async function middleOf(pool: pg.Pool, entries: string, at: string, id: string, all: number) {
  const { rows } = await pool.query<{ at: Date; id: string }>(
    `SELECT ${at} AS at, ${id} AS id FROM ${entries} ORDER BY ${at}, ${id} OFFSET ${Math.floor(all / 2)} LIMIT 1`,
  );
  return rows[0] ?? null;
}

async function measureComments(database: RecordingDatabase, talk: Talk): Promise<Measured[]> {
  const { posts, comment, viewers, counts } = talk;
  const lists: [name: string, list: CommentList, entries: string, all: number][] = [
    [`a post with ${count(counts.roots)}`, { post_id: posts.busiest }, `post_id = '${posts.busiest}'`, counts.roots],
    [`replies, ${count(counts.replies)}`, { parent_id: comment }, `parent_id = '${comment}'`, counts.replies],
  ];
  const measured: Measured[] = [];
  for (const [name, list, entries, all] of lists) {
    const middle = await middleOf(database.pool, `comments WHERE ${entries}`, "created_at", "id", all);
    for (const [place, after] of [
      ["first page", null],
      ["in the middle", middle],
    ] as const) {
      for (const [viewer, id] of Object.entries(viewers)) {
        const query = async (db: Db) => (await listComments(db, id, list, { limit: LIMIT, after })).rows;
        measured.push(await measure(database, `${name}, ${place}, ${viewer}`, query));
      }
    }
  }
  for (const [name, post_id] of [
    ["a usual post", posts.usual],
    ["behind 2,000 of suspended accounts", posts.spammed],
  ]) {
    const query = async (db: Db) =>
      (await listComments(db, viewers.blocker, { post_id: String(post_id) }, { limit: LIMIT, after: null })).rows;
    measured.push(await measure(database, `${name}, first page, blocker`, query));
  }
  const one = async (db: Db) => [await findComment(db, viewers.blocker, comment)];
  measured.push(await measure(database, "one comment by its id, blocker", one));
  return measured;
}

async function measureTags(database: RecordingDatabase, { tags, viewers, counts }: Talk): Promise<Measured[]> {
  const middle = await middleOf(
    database.pool,
    `post_tags WHERE tag = '${tags.first}'`,
    "published_at",
    "post_id",
    counts.ofFirstTag,
  );
  const measured: Measured[] = [];
  for (const [name, tag, after] of [
    [`a hashtag of ${count(counts.ofFirstTag)} posts, first page`, tags.first, null],
    [`a hashtag of ${count(counts.ofFirstTag)} posts, in the middle`, tags.first, middle],
    ["one of the middle, first page", tags.middle, null],
    ["behind 2,000 of suspended accounts, first page", tags.spammed, null],
  ] as const) {
    const query = async (db: Db) => (await listTagged(db, viewers.blocker, tag, { limit: LIMIT, after })).rows;
    measured.push(await measure(database, name, query));
  }
  for (const [name, prefix] of [
    ["search, one letter", tags.first.slice(0, 1)],
    ["search, two letters", tags.first.slice(0, 2)],
    ["search, four letters", tags.first.slice(0, 4)],
    ["search, a whole tag", tags.first],
    ["search, nothing begins so", "zzz"],
  ] as const) {
    const query = (db: Db) => findTags(db, viewers.blocker, prefix, { limit: LIMIT, after: null });
    measured.push(await measure(database, name, query));
  }
  return measured;
}

async function sizes(pool: pg.Pool): Promise<string> {
  const { rows } = await pool.query<{ name: string; size: string }>(
    `SELECT relname AS name, pg_size_pretty(pg_relation_size(oid)) AS size FROM pg_class
     WHERE relkind IN ('r', 'i') AND relname ~ '^(comments|comment_likes|post_tags|tags)(_|$)' ORDER BY relname`,
  );
  return rows.map(({ name, size }) => `| ${name} | ${size} |`).join("\n");
}

function table(measured: readonly Measured[]): string {
  const lines = measured.map(
    ({ name, explained, found }) =>
      `| ${[name, count(explained.buffers), explained.milliseconds.toFixed(1), found].join(" | ")} |`,
  );
  return `| | buffers | ms | on the page |\n|---|---|---|---|\n${lines.join("\n")}`;
}

/** Without what was planned and never run. */
function planOf({ name, explained }: Measured): string {
  const ran = explained.plan.split("\n").filter((line) => !line.includes("loops 0, "));
  return `${name}:\n\n\`\`\`text\n${ran.join("\n")}\n\`\`\``;
}

function renderReport(options: {
  talk: Talk;
  comments: readonly Measured[];
  tags: readonly Measured[];
  sizes: string;
  version: string;
}): string {
  const { talk, comments, tags, sizes, version } = options;
  const { counts } = talk;
  return `# Plans of comments and hashtags

Measured on ${new Date().toISOString().slice(0, 10)} with Postgres ${version}; written by \`npm run plans:comments -- --write\`. A buffer is a page of
8 KiB that a statement asked for, found in memory or not; the milliseconds are of one machine that did other things too.

${count(counts.accounts)} accounts, ${count(counts.comments)} comments and ${count(counts.postTags)} hashtags of posts. Pages have 20 rows. The viewer *nobody* blocks
no one, *blocker* a thousand.

## Comments

A page reads the entries of its list in their order until it is full, 500 at most, and with each the account of its author
and the blocks between the two: some seven buffers an entry, wherever in the list it is. Where 500 in a row are not shown, the page is
a short one, and costs what those 500 do.

${table(comments)}

## Hashtags

Lists go the same way, over an index that has the author too; the posts of a page are read afterwards, as everywhere. A search looks at 40 tags
at most (20 by use, 20 by name), the latest 50 posts of each, and each author of those once.

${table(tags)}

| | size |
|---|---|
${sizes}

## Shortened plans

Rows are those of one loop; buffers are of all loops and include a node's children.

${[comments[1], comments[5], comments.at(-2), tags[0], tags[4]].flatMap((one) => (one ? [planOf(one)] : [])).join("\n\n")}
`;
}

const { values } = parseArgs({ options: { write: { type: "boolean", default: false } } });
await withPlansDatabase(async (pool, version) => {
  say("loading");
  const talk = await loadTalk(pool);
  const database = recordingDatabase(pool);
  say("measuring");
  const comments = await measureComments(database, talk);
  const tags = await measureTags(database, talk);
  for (const { name, explained } of [...comments, ...tags]) say(`\n${name}\n${explained.text}`);
  say(`\n${table(comments)}\n\n${table(tags)}`);
  if (values.write) await writeFile(REPORT, renderReport({ talk, comments, tags, sizes: await sizes(pool), version }));
});
