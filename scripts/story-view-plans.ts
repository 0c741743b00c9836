/**
 * `npm run plans:story-views [-- --write]`: makes a throw-away Postgres with a million views of stories, explains how views
 * are written, repeated, listed and verified. `--write` writes docs/story-view-plans.md. Takes some minutes.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { NIL } from "uuid";
import { storyCounters } from "../plugins/stories/counters.ts";
import { activeStories, listViewers, recordViews, setReaction } from "../plugins/stories/view-store.ts";
import type { Db, Tx } from "../src/db/transaction.ts";
import type { Position } from "../src/http/paging.ts";
import { withPlansDatabase } from "./plans/database.ts";
import { type Explained, explain, type RecordingDatabase, recordingDatabase } from "./plans/explain.ts";
import { loadStoryViews, type Pairs, type StoryViews } from "./plans/story-views.ts";

interface Measured {
  name: string;
  explained: Explained;
}

const REPORT = join(import.meta.dirname, "../docs/story-view-plans.md");
/** Of the viewers' page that is far behind the first. */
const DEEP = 20_000;

const say = (line: string) => process.stdout.write(`${line}\n`);
const count = (value: number) => value.toLocaleString("en");

/** Takes back what these pairs have become. */
function undo(pairs: Pairs): string {
  const list = (key: keyof Pairs[number]) => `'{${pairs.map((pair) => pair[key])}}'::uuid[]`;
  return `WITH gone AS (
      DELETE FROM story_views USING unnest(${list("story_id")}, ${list("viewer_id")}) AS pairs (story, viewer)
      WHERE story_id = story AND viewer_id = viewer RETURNING story_id)
    UPDATE stories SET view_count = view_count - gone.views
    FROM (SELECT story_id, count(*)::int AS views FROM gone GROUP BY 1) AS gone WHERE stories.id = gone.story_id`;
}

async function measure(
  database: RecordingDatabase,
  set: StoryViews,
): Promise<{ writes: Measured[]; reads: Measured[] }> {
  const { first, author, hot, spread, repeats } = set;
  const [one] = hot;
  const [seen] = repeats;
  if (!one || !seen) throw new Error("there are no pairs");
  const found = await listViewers(database.db, author, { storyId: first, limit: 1, after: null });
  const { rows } = await database.pool.query<Position>(
    `SELECT viewed_at AS at, viewer_id AS id FROM story_views WHERE story_id = $1
     ORDER BY viewed_at DESC, viewer_id DESC OFFSET ${DEEP} LIMIT 1`,
    [first],
  );
  const [after] = rows;
  const [counter] = storyCounters;
  if (!found.rows[0] || !after || !counter) throw new Error("too few have seen the first story");
  const written = async (name: string, pairs: Pairs): Promise<Measured> => ({
    name,
    explained: await explain(database, (db) => recordViews(db, pairs), undo(pairs)),
  });
  const read = async (name: string, query: (db: Db) => Promise<unknown>): Promise<Measured> => ({
    name,
    explained: await explain(database, query),
  });
  return {
    writes: [
      await written("500 views of one story", hot),
      await written("500 views of 500 stories", spread),
      await written("one view", [one]),
      await read("500 repeats", (db) => recordViews(db, repeats)),
      await read("one repeat", (db) => recordViews(db, [seen])),
      await read("a reaction to what was seen", (db) => setReaction(db, seen, "👍")),
    ],
    reads: [
      await read("viewers, page 1", (db) => listViewers(db, author, { storyId: first, limit: 21, after: null })),
      await read(`viewers, page ${count(DEEP / 20 + 1)}`, (db) =>
        listViewers(db, author, { storyId: first, limit: 21, after }),
      ),
      await read("an author's stories whose sets are dropped", (db) =>
        activeStories(db as Tx, [author], { privateOnly: false, after: NIL, limit: 500 }),
      ),
      await read("500 counters verified, that of the first story not among them", (db) =>
        counter.look(db, { after: first, limit: 500 }),
      ),
    ],
  };
}

function table(measured: readonly Measured[]): string {
  const lines = measured.map(
    ({ name, explained }) =>
      `| ${[name, count(explained.rows), count(explained.buffers), explained.milliseconds.toFixed(2)].join(" | ")} |`,
  );
  return `| | rows | buffers | ms |\n|---|---|---|---|\n${lines.join("\n")}`;
}

/** Without what was planned and never run. */
function planOf({ name, explained }: Measured): string {
  const ran = explained.plan.split("\n").filter((line) => !line.includes("loops 0, "));
  return `${name}:\n\n\`\`\`text\n${ran.join("\n")}\n\`\`\``;
}

function renderReport(
  set: StoryViews,
  { writes, reads }: Awaited<ReturnType<typeof measure>>,
  version: string,
): string {
  return `# Plans of views of stories

Measured on ${new Date().toISOString().slice(0, 10)} with Postgres ${version}; written by \`npm run plans:story-views -- --write\`. A buffer is a page of
8 KiB that a statement asked for, found in memory or not; the milliseconds are of one machine that did other things too.

200,000 accounts, a fifth of them private, 20,000 stories that are not over, ${count(set.views)} views by Zipf's law, ${count(set.viewsOfFirst)} of them of one story, of
whose viewers a tenth block its author or are blocked.

## Views

Whoever may see what, what is new, its rows and the counts are one statement. What only repeats holds nothing and writes nothing.

${table(writes)}

## Reads

A page of viewers looks at 500 entries of the index at most, however many there are before it.

${table(reads)}

## Shortened plans

Rows are those of one loop; buffers are of all loops and include a node's children.

${[...writes, ...reads].map(planOf).join("\n\n")}
`;
}

const { values } = parseArgs({ options: { write: { type: "boolean", default: false } } });
await withPlansDatabase(async (pool, version) => {
  say("loading");
  const set = await loadStoryViews(pool);
  const database = recordingDatabase(pool);
  say("explaining");
  const measured = await measure(database, set);
  const { writes, reads } = measured;
  for (const { name, explained } of [...writes, ...reads]) say(`\n${name}\n${explained.text}`);
  say(`\n${[writes, reads].map(table).join("\n\n")}`);
  if (values.write) await writeFile(REPORT, renderReport(set, measured, version));
});
