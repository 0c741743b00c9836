/**
 * `npm run plans:stories [-- --write]`: makes a throw-away Postgres with the stories of some thousand people and explains how
 * a tray is read of it, before and after a million that are over are left there. `--write` writes docs/story-plans.md.
 * Takes some minutes.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type pg from "pg";
import { readTray } from "../plugins/stories/tray-store.ts";
import { withPlansDatabase } from "./plans/database.ts";
import { type Explained, explain, type RecordingDatabase, recordingDatabase } from "./plans/explain.ts";
import { AUTHORS, COUNTED, FOLLOWS, loadOver, loadStories, MANY_VIEWS, OVER, type Viewers } from "./plans/stories.ts";

interface Measured {
  name: string;
  authors: number;
  explained: Explained;
}

const REPORT = join(import.meta.dirname, "../docs/story-plans.md");

const say = (line: string) => process.stdout.write(`${line}\n`);
const count = (value: number) => value.toLocaleString("en");

async function measure(database: RecordingDatabase, viewers: Viewers, when: string): Promise<Measured[]> {
  const measured: Measured[] = [];
  for (const [viewer, id] of Object.entries(viewers)) {
    const { entries } = await readTray(database.db, id);
    const name = `${viewer}, ${when}`;
    const explained = await explain(database, (db) => readTray(db, id));
    measured.push({ name, authors: entries.length, explained });
    say(`\n${name}\n${explained.text}`);
  }
  return measured;
}

async function sizes(pool: pg.Pool): Promise<string> {
  const { rows } = await pool.query<{ stories: number; over: number; views: number; devoted: number }>(
    `SELECT count(*) FILTER (WHERE expires_at > now())::int AS stories, count(*) FILTER (WHERE expires_at <= now())::int AS over,
       (SELECT count(*)::int FROM story_views) AS views,
       (SELECT count(*)::int FROM story_views JOIN users ON users.id = viewer_id WHERE username = 'devoted') AS devoted FROM stories`,
  );
  const [row] = rows;
  if (!row) throw new Error("a count gives a row");
  return `${count(row.stories)} stories that are not over, ${count(row.over)} that are; ${count(row.views)} views, ${count(row.devoted)} of them of \`devoted\``;
}

function table(measured: readonly Measured[]): string {
  const lines = measured.map(
    ({ name, authors, explained: { buffers, milliseconds, heapFetches } }) =>
      `| ${[name, count(authors), count(buffers), count(heapFetches), milliseconds.toFixed(1)].join(" | ")} |`,
  );
  return `| | authors shown | buffers | heap fetches | ms |\n|---|---|---|---|---|\n${lines.join("\n")}`;
}

/** Without what was planned and never run. */
function planOf({ name, explained }: Measured): string {
  const ran = explained.plan.split("\n").filter((line) => !line.includes("loops 0, "));
  return `${name}:\n\n\`\`\`text\n${ran.join("\n")}\n\`\`\``;
}

const { values } = parseArgs({ options: { write: { type: "boolean", default: false } } });
await withPlansDatabase(async (pool, version) => {
  say("loading");
  const viewers = await loadStories(pool);
  const database = recordingDatabase(pool);
  const before = await measure(database, viewers, "nothing is over");
  say("loading what is over");
  await loadOver(pool);
  const after = await measure(database, viewers, `${count(OVER)} are over`);
  await pool.query(COUNTED);
  const counted = await measure(database, viewers, "and each other one counted a view since the last VACUUM");
  const measured = [...before, ...after, ...counted];
  const there = await sizes(pool);
  say(`\n${table(measured)}\n\n${there}`);
  if (!values.write) return;
  await writeFile(
    REPORT,
    `# Plans of stories

Measured on ${new Date().toISOString().slice(0, 10)} with Postgres ${version}; written by \`npm run plans:stories -- --write\`. A buffer is a page of
8 KiB that a statement asked for, found in memory or not; the milliseconds are of one machine that did other things too.

## Tray

Two viewers follow the same ${count(FOLLOWS)} accounts. ${AUTHORS} of these have 1 to 5 stories that are not over, a fifth of which are for close friends;
every fourth account is private, the viewers are close friends of every second, and every fiftieth hides its stories from them. Both have seen half of
what is not over. Then ${count(OVER)} stories that are over and were not cleaned up come to it, most of them of those ${count(FOLLOWS)}, and
\`devoted\` has seen ${count(MANY_VIEWS)} of them. At the end: ${there}.

${table(measured)}

What is over adds a level to the index of views, once for each story that is shown, and nothing for what lies in it.

## Shortened plans

Rows are those of one loop; buffers are of all loops and include a node's children.

${measured.slice(-1).map(planOf).join("\n\n")}
`,
  );
});
