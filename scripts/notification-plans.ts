/**
 * `npm run plans:notifications [-- --write]`: makes a throw-away Postgres with a million notifications and one that a million
 * people are in, and explains how lists and counts are read. `--write` writes docs/notification-plans.md. Takes some minutes.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type pg from "pg";
import { lastLogged } from "../plugins/notifications/log-store.ts";
import { countUnread, listNotifications } from "../plugins/notifications/store.ts";
import type { Db } from "../src/db/transaction.ts";
import { withPlansDatabase } from "./plans/database.ts";
import { type Explained, explain, recordingDatabase } from "./plans/explain.ts";
import { LIKES_OF_ONE, loadNotifications, NOTIFICATIONS, TABLES, type Told } from "./plans/notifications.ts";

interface Measured {
  name: string;
  explained: Explained;
}

const REPORT = join(import.meta.dirname, "../docs/notification-plans.md");
const DAY = 86_400_000;

const say = (line: string) => process.stdout.write(`${line}\n`);
const count = (value: number) => value.toLocaleString("en");

function queriesOf({ busy, usual }: Told): Array<[string, (db: Db) => Promise<unknown>]> {
  const page = (user: string, daysAgo: number | null) => (db: Db) =>
    listNotifications(db, user, {
      limit: 21,
      after: daysAgo === null ? null : { at: new Date(Date.now() - daysAgo * DAY), id: user },
    });
  return [
    ["page 1 of 100,000, a million people in its first", page(busy, null)],
    ["a page in the middle, 45 days ago", page(busy, 45)],
    ["page 1 of some fifty", page(usual, null)],
    ["unread, 100,000", (db) => countUnread(db, busy)],
    ["unread, some twenty", (db) => countUnread(db, usual)],
    ["the last row of the log", (db) => lastLogged(db, usual)],
  ];
}

async function sizes(pool: pg.Pool): Promise<string> {
  const { rows } = await pool.query<{ name: string; rows: number; heap: number; indexes: number }>(
    `SELECT relname AS name, greatest(reltuples, 0)::float8 AS rows, pg_relation_size(oid)::float8 AS heap,
            pg_indexes_size(oid)::float8 AS indexes FROM pg_class WHERE relname = ANY($1) ORDER BY relname`,
    [TABLES.filter((name) => name !== "users")],
  );
  const each = (bytes: number, of: number) => (of === 0 ? "–" : count(Math.round(bytes / of)));
  const lines = rows.map(
    ({ name, rows: n, heap, indexes }) => `| ${name} | ${count(n)} | ${each(heap, n)} | ${each(indexes, n)} |`,
  );
  return `| | rows | bytes a row | bytes of indexes a row |\n|---|---|---|---|\n${lines.join("\n")}`;
}

function table(measured: readonly Measured[]): string {
  const lines = measured.map(
    ({ name, explained: { rows, buffers, milliseconds } }) =>
      `| ${[name, count(rows), count(buffers), milliseconds.toFixed(1)].join(" | ")} |`,
  );
  return `| | rows | buffers | ms |\n|---|---|---|---|\n${lines.join("\n")}`;
}

/** Without what was planned and never run. */
function planOf({ name, explained }: Measured): string {
  const ran = explained.plan.split("\n").filter((line) => !line.includes("loops 0, "));
  return `${name}:\n\n\`\`\`text\n${ran.join("\n")}\n\`\`\``;
}

const { values } = parseArgs({ options: { write: { type: "boolean", default: false } } });
await withPlansDatabase(async (pool, version) => {
  say("loading");
  const told = await loadNotifications(pool);
  const database = recordingDatabase(pool);
  const measured: Measured[] = [];
  for (const [name, query] of queriesOf(told)) {
    const explained = await explain(database, query);
    measured.push({ name, explained });
    say(`\n${name}\n${explained.text}`);
  }
  const room = await sizes(pool);
  say(`\n${table(measured)}\n\n${room}`);
  if (!values.write) return;
  await writeFile(
    REPORT,
    `# Plans of notifications

Measured on ${new Date().toISOString().slice(0, 10)} with Postgres ${version}; written by \`npm run plans:notifications -- --write\`. A buffer is a page of
8 KiB that a statement asked for, found in memory or not; the milliseconds are of one machine that did other things too.

${count(NOTIFICATIONS)} notifications of 90 days and of 20,000 people, 100,000 of them one person's who has read none; each has two actors, and a third
are about posts of others, by 5,000 authors. One more is of a post that ${count(LIKES_OF_ONE)} people like.

${table(measured)}

## Room

${room}

## Shortened plans

Rows are those of one loop; buffers are of all loops and include a node's children.

${measured.map(planOf).join("\n\n")}
`,
  );
});
