/**
 * `npm run plans:people [-- --write]`: makes a throw-away Postgres with a million accounts and a million follows, explains
 * how people are searched for and suggested, and what that costs those who change their names. `--write` writes
 * docs/people-plans.md. Takes some minutes.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { sql } from "kysely";
import type pg from "pg";
import { findPeople, fold, suggestPeople } from "../plugins/search/store.ts";
import { withPlansDatabase } from "./plans/database.ts";
import { type Explained, explain, type RecordingDatabase, recordingDatabase } from "./plans/explain.ts";
import { FOLLOWERS, type FollowerName, loadPeople, type People } from "./plans/people.ts";

interface Measured {
  name: string;
  explained: Explained;
  /** Rows of the page, of one more than 20. */
  found: number;
}

const REPORT = join(import.meta.dirname, "../docs/people-plans.md");
const FIRST_PAGE = { limit: 21, after: null };

const say = (line: string) => process.stdout.write(`${line}\n`);
const count = (value: number) => value.toLocaleString("en");

const followers = Object.keys(FOLLOWERS) as FollowerName[];

async function measureSearches(database: RecordingDatabase, people: People): Promise<Measured[]> {
  const { name } = people.commonest;
  const swapped = name.replace(/^(..)(.)(.)/, "$1$3$2");
  const queries: Array<[string, string]> = [
    ["one letter", name.slice(0, 1)],
    ["three letters", name.slice(0, 3)],
    ["the commonest name", name],
    ["it with a typo", swapped],
    ["two words, one with a typo", `${swapped} ${name}`],
    ["a typo, and a word that is begun", `${swapped} ${name.slice(0, 1)}`],
    ["nothing like it", "xqzzw"],
  ];
  const measured: Measured[] = [];
  for (const viewer of ["nobody", "many"] as const) {
    for (const [title, query] of queries) {
      const folded = await fold(database.db, query);
      const rows = await findPeople(database.db, people.ids[viewer], folded, FIRST_PAGE);
      const explained = await explain(database, (db) => findPeople(db, people.ids[viewer], folded, FIRST_PAGE));
      measured.push({ name: `${title}, follows ${count(FOLLOWERS[viewer])}`, explained, found: rows.length });
    }
  }
  return measured;
}

async function measureSuggestions(database: RecordingDatabase, { ids }: People): Promise<Measured[]> {
  const measured: Measured[] = [];
  for (const viewer of followers) {
    const rows = await suggestPeople(database.db, ids[viewer], FIRST_PAGE);
    const explained = await explain(database, (db) => suggestPeople(db, ids[viewer], FIRST_PAGE));
    measured.push({ name: `suggestions, follows ${count(FOLLOWERS[viewer])}`, explained, found: rows.length });
  }
  return measured;
}

/** A new name each time, for an update that changes nothing touches no index. */
async function measureChanges(database: RecordingDatabase, { ids }: People): Promise<Measured[]> {
  const changes = {
    "new display name": sql`UPDATE users SET display_name = initcap(left(md5(random()::text), 8)) || ' Miller' WHERE id = ${ids.few}`,
    "new user name": sql`UPDATE users SET username = left(md5(random()::text), 12) WHERE id = ${ids.few}`,
    "counter of followers": sql`UPDATE users SET follower_count = follower_count + 1 WHERE id = ${ids.few}`,
  };
  const measured: Measured[] = [];
  for (const [name, statement] of Object.entries(changes)) {
    measured.push({ name, explained: await explain(database, (db) => statement.execute(db)), found: 1 });
  }
  return measured;
}

/** @returns the share of updates of counters that were heap-only, of a thousand accounts in one transaction. */
async function heapOnlyShare(pool: pg.Pool): Promise<number> {
  const client = await pool.connect();
  try {
    await client.query("BEGIN");
    await client.query(
      `UPDATE users SET follower_count = follower_count + 1 WHERE id IN (SELECT id FROM users ORDER BY md5(id::text) LIMIT 1000)`,
    );
    const { rows } = await client.query<{ share: number }>(
      "SELECT n_tup_hot_upd::float8 / n_tup_upd AS share FROM pg_stat_xact_user_tables WHERE relname = 'users'",
    );
    await client.query("ROLLBACK");
    return rows[0]?.share ?? 0;
  } finally {
    client.release();
  }
}

async function indexSizes(pool: pg.Pool): Promise<string> {
  const { rows } = await pool.query<{ name: string; size: string }>(
    `SELECT relname AS name, pg_size_pretty(pg_relation_size(oid)) AS size FROM pg_class
     WHERE relname = 'users' OR relname LIKE 'users_search%' OR relname = 'users_username_key' ORDER BY relname`,
  );
  return rows.map(({ name, size }) => `| ${name} | ${size} |`).join("\n");
}

function table(measured: readonly Measured[]): string {
  const lines = measured.map(
    ({ name, explained, found }) =>
      `| ${[name, count(explained.buffers), explained.milliseconds.toFixed(1), found > 20 ? "20, and more" : found].join(" | ")} |`,
  );
  return `| | buffers | ms | on the page |\n|---|---|---|---|\n${lines.join("\n")}`;
}

/** Without what was planned and never run. */
function planOf({ name, explained }: Measured): string {
  const ran = explained.plan.split("\n").filter((line) => !line.includes("loops 0, "));
  return `${name}:\n\n\`\`\`text\n${ran.join("\n")}\n\`\`\``;
}

function renderReport(options: {
  people: People;
  searches: readonly Measured[];
  suggestions: readonly Measured[];
  changes: readonly Measured[];
  hot: number;
  sizes: string;
  version: string;
}): string {
  const { people, searches, suggestions, changes, hot, sizes, version } = options;
  return `# Plans of finding people

Measured on ${new Date().toISOString().slice(0, 10)} with Postgres ${version}; written by \`npm run plans:people -- --write\`. A buffer is a page of
8 KiB that a statement asked for, found in memory or not; the milliseconds are of one machine that did other things too.

${count(people.accounts)} accounts, the newest ${count(people.suspended)} of them suspended; the others have names of syllables, shared by Zipf's law (${count(people.commonest.accounts)}
have the commonest family name, *${people.commonest.name}*). ${count(people.follows)} follows; each of those whom the viewers follow follows some hundreds itself.

## Search

A search ranks a bounded number of candidates: of the followed the latest 2,000, the first 100 by user name, the first 100
by each of the first four words of the display name, and 100 each by the spelling of all words and by that of those before
the last, of which 1,000 are looked through. That is how many a search shows. What grows with the number of accounts is the
height of the indexes, and the part of the spelling index that holds the keys of the words that were typed: a few bytes for
each account that has one.

${table(searches)}

## Suggestions

Of the latest 200 follows, the latest 200 follows of each. Who follows nobody: the 200 newest accounts in their place, the
suspended ones passed over by index.

${table(suggestions)}

## Changes

Of 1,000 updates of counters, ${Math.round(hot * 1_000).toLocaleString("en")} were heap-only, which touch no index.

${table(changes)}

| | size |
|---|---|
${sizes}

## Shortened plans

Rows are those of one loop; buffers are of all loops and include a node's children.

${[...searches.slice(0, 1), ...searches.slice(10, 11), ...suggestions.slice(0, 1), ...suggestions.slice(2)].map(planOf).join("\n\n")}
`;
}

const { values } = parseArgs({ options: { write: { type: "boolean", default: false } } });
await withPlansDatabase(async (pool, version) => {
  say("loading");
  const people = await loadPeople(pool);
  const database = recordingDatabase(pool);
  say("searching");
  const searches = await measureSearches(database, people);
  const suggestions = await measureSuggestions(database, people);
  const changes = await measureChanges(database, people);
  for (const { name, explained } of [...searches, ...suggestions, ...changes]) say(`\n${name}\n${explained.text}`);
  say(`\n${[searches, suggestions, changes].map(table).join("\n\n")}`);
  const [hot, sizes] = [await heapOnlyShare(pool), await indexSizes(pool)];
  if (values.write) {
    await writeFile(REPORT, renderReport({ people, searches, suggestions, changes, hot, sizes, version }));
  }
});
