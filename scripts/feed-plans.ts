/**
 * `npm run plans:feed [-- --write]`: makes a throw-away Postgres with a million posts, explains the queries that the
 * feed and the lists beside it are made of, and prints the plans and their buffers. `--write` writes docs/feed-plans.md.
 * Takes some two minutes.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import pg from "pg";
import { startPostgresServer } from "../test/support/postgres-server.ts";
import { run } from "../test/support/server.ts";
import { loadDataset } from "./plans/dataset.ts";
import { recordingDatabase } from "./plans/explain.ts";
import { measureFeeds, measureLists, measureStaleFeeds } from "./plans/measure.ts";
import { renderReport, renderSummary } from "./plans/report.ts";

const REPORT = join(import.meta.dirname, "../docs/feed-plans.md");

const say = (line: string) => process.stdout.write(`${line}\n`);

async function migrate(url: string): Promise<void> {
  const dataDir = await mkdtemp(join(tmpdir(), "tintype-plans-"));
  try {
    const { code, stderr } = await run(["migrate"], { TINTYPE_DATABASE_URL: url, TINTYPE_DATA_DIR: dataDir });
    if (code !== 0) throw new Error(`tintype migrate ended with ${code}:\n${stderr}`);
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
}

const { values } = parseArgs({ options: { write: { type: "boolean", default: false } } });
const server = await startPostgresServer();
try {
  await migrate(server.url);
  // One connection: what is measured does not share the machine with itself.
  const pool = new pg.Pool({ connectionString: server.url, max: 1 });
  try {
    say("loading");
    const dataset = await loadDataset(pool);
    const database = recordingDatabase(pool);
    say("reading feeds page by page");
    const feeds = await measureFeeds(database, dataset);
    const lists = await measureLists(database, dataset);
    say("reading them when a fifth of the posts came after the last VACUUM");
    const stale = await measureStaleFeeds(database, dataset, feeds);
    const measured = [...feeds, ...stale, ...lists];
    for (const { name, pages } of measured) {
      for (const { page, explained } of pages) say(`\n${name}, page ${page}\n${explained.text}`);
    }
    say(`\n${renderSummary(measured)}`);
    const { rows } = await pool.query<{ version: string }>("SELECT current_setting('server_version') AS version");
    const report = renderReport({ dataset, feeds, lists, stale, version: rows[0]?.version ?? "", date: new Date() });
    if (values.write) await writeFile(REPORT, report);
  } finally {
    await pool.end();
  }
} finally {
  await server.stop();
}
