import { type Dataset, VIEWERS, type ViewerName } from "./dataset.ts";
import type { Single } from "./hot.ts";
import type { Measured, PageMeasured } from "./measure.ts";

/** The page docs/feed-plans.md. */
export function renderReport(options: {
  dataset: Dataset;
  feeds: readonly Measured[];
  lists: readonly Measured[];
  stale: readonly Measured[];
  hot: readonly Single[];
  version: string;
  date: Date;
}): string {
  const { dataset, feeds, lists, stale, hot, version, date } = options;
  return `# Plans of the feed

Measured on ${date.toISOString().slice(0, 10)} with Postgres ${version}; written by \`npm run plans:feed -- --write\`. A buffer is a page of 8 KiB
that a statement asked for, found in memory or not; unlike time, that does not depend on the machine.

${describeData(dataset)}

Pages have 20 posts and are reached cursor by cursor. What was read on the way is compared with a plain sorted join:
every feed was the same to the last post.

## Feed

The goal is a page 1,000 within 1.3 of page 1. Who follows rare authors has no page 1,000; the last page stands for it.

${table(feeds)}

When the latest fifth of posts and of follows was written since the last VACUUM (at most that much by autovacuum's
defaults), an index-only scan must look those rows up in the table. At worst that is one page for each followed account
and some for the authors on the page, so posts need no vacuum settings of their own.

${table(stale)}

## Beside it

${table(lists)}

## Where timelines lie in Redis

What Postgres is asked for to build them, to push to them and to show what is in them. Five authors are pulled. A fan-out's
rows are of Postgres' making: those of one tag are one row. The milliseconds are of one machine that did other things too.

${singleTable(hot)}

## Shortened plans

Rows are those of one loop; buffers are of all loops and include a node's children.

${[...[feeds[0], ...lists].map((measured) => (measured ? planOf(measured) : "")), ...hot.map(singlePlan)].join("\n\n")}
`;
}

/** One line a page, for the terminal; with the time, which is of this machine and this moment only. */
export function renderSummary(measured: readonly Measured[]): string {
  const line = (...[name, page, buffers, ratio, ms]: [string, string, string, string, string]) =>
    name.padEnd(40) + page.padStart(6) + buffers.padStart(9) + ratio.padStart(7) + ms.padStart(9);
  const lines = measured.flatMap(({ name, pages }) =>
    pages.map((page) => {
      const { buffers, milliseconds } = page.explained;
      return line(name, count(page.page), count(buffers), ratio(pages[0], page), milliseconds.toFixed(1));
    }),
  );
  return [line("", "page", "buffers", "ratio", "ms"), ...lines].join("\n");
}

function describeData({ viewers }: Dataset): string {
  const lines = (Object.keys(VIEWERS) as ViewerName[]).map((name) => {
    const { follows, postsOfEach } = viewers[name];
    const { least, mean, most } = postsOfEach;
    const posts = follows === 0 ? "–" : `${count(least)} / ${count(mean)} / ${count(most)}`;
    return `| ${name} | ${count(follows)} | ${VIEWERS[name].description} | ${posts} |`;
  });
  return `1,000,000 published posts of two years by 200,000 accounts, shared by Zipf's law: an account of rank k has 1/k of the
posts and of the followers of the first. The authors of rank 40,000 and above posted in the first half year only.

| viewer | follows | whom | posts of each: fewest / mean / most |
|---|---|---|---|
${lines.join("\n")}`;
}

function table(measured: readonly Measured[]): string {
  const lines = measured.map(({ name, pages }) => {
    const [first, deep] = pages;
    const cells = deep ? [deep.page, deep.explained.buffers, ratio(first, deep)] : ["–", "–", "–"];
    const fetches = pages.map((page) => count(page.explained.heapFetches)).join(" / ");
    return `| ${[name, first.explained.buffers, ...cells, fetches].map((cell) => (typeof cell === "number" ? count(cell) : cell)).join(" | ")} |`;
  });
  return `| | buffers of page 1 | deep page | its buffers | buffers, deep / 1 | heap fetches |
|---|---|---|---|---|---|
${lines.join("\n")}`;
}

/** With the time, which is of this machine and this moment only. */
export function singleTable(hot: readonly Single[]): string {
  const lines = hot.map(
    ({ name, explained: { rows, buffers, milliseconds } }) =>
      `| ${name} | ${count(rows)} | ${count(buffers)} | ${milliseconds.toFixed(1)} |`,
  );
  return `| | rows | buffers | ms |\n|---|---|---|---|\n${lines.join("\n")}`;
}

const ratio = (first: PageMeasured, deep: PageMeasured) =>
  (deep.explained.buffers / first.explained.buffers).toFixed(2);

function planOf({ name, pages }: Measured): string {
  const last = pages.at(-1);
  const title = pages.length > 1 ? `${name}, page ${count(last?.page ?? 1)}` : name;
  return fenced(title, last?.explained.plan ?? "");
}

const singlePlan = ({ name, explained }: Single) => fenced(name, explained.plan);

/** Without what was planned and never run. */
function fenced(title: string, plan: string): string {
  const ran = plan.split("\n").filter((line) => !line.includes("loops 0, "));
  return `${title}:\n\n\`\`\`text\n${ran.join("\n")}\n\`\`\``;
}

const count = (value: number) => value.toLocaleString("en");
