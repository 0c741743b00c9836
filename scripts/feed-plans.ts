/**
 * `npm run plans:feed [-- --write]`: makes a throw-away Postgres with a million posts, explains the queries that the
 * feed and the lists beside it are made of, and prints the plans and their buffers. `--write` writes docs/feed-plans.md.
 * Takes some two minutes.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { withPlansDatabase } from "./plans/database.ts";
import { loadDataset } from "./plans/dataset.ts";
import { recordingDatabase } from "./plans/explain.ts";
import { measureHot } from "./plans/hot.ts";
import { measureFeeds, measureLists, measureStaleFeeds } from "./plans/measure.ts";
import { renderReport, renderSummary, singleTable } from "./plans/report.ts";

const REPORT = join(import.meta.dirname, "../docs/feed-plans.md");

const say = (line: string) => process.stdout.write(`${line}\n`);

const { values } = parseArgs({ options: { write: { type: "boolean", default: false } } });
await withPlansDatabase(async (pool, version) => {
  say("loading");
  const dataset = await loadDataset(pool);
  const database = recordingDatabase(pool);
  say("reading feeds page by page");
  const feeds = await measureFeeds(database, dataset);
  const lists = await measureLists(database, dataset);
  say("what Redis wants to know");
  const hot = await measureHot(database, dataset);
  say("reading them when a fifth of the posts came after the last VACUUM");
  const stale = await measureStaleFeeds(database, dataset, feeds);
  const measured = [...feeds, ...stale, ...lists];
  for (const { name, pages } of measured) {
    for (const { page, explained } of pages) say(`\n${name}, page ${page}\n${explained.text}`);
  }
  for (const { name, explained } of hot) say(`\n${name}\n${explained.text}`);
  say(`\n${renderSummary(measured)}\n\n${singleTable(hot)}`);
  const report = renderReport({ dataset, feeds, lists, stale, hot, version, date: new Date() });
  if (values.write) await writeFile(REPORT, report);
});
