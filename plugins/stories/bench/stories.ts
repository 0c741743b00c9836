import { pino } from "pino";
import { type BenchDatabase, openBenchDatabase } from "../../../src/bench/database.ts";
import { assertAnswered, type LoadGenerator, loadTo, startLoadGenerator } from "../../../src/bench/load/generator.ts";
import { describeMachine, judged, type Report } from "../../../src/bench/report.ts";
import { requestOf } from "../../../src/bench/request.ts";
import { type BenchServer, startBenchServer } from "../../../src/bench/server.ts";
import { median } from "../../../src/bench/statistics.ts";
import type { Db } from "../../../src/db/transaction.ts";
import { OperationError } from "../../../src/errors.ts";
import { createNotices } from "../../../src/notices.ts";
import { recordViews, type ViewPair } from "../view-store.ts";
import { Views } from "../views.ts";
import { makeStoriesDataset, type StoriesDataset } from "./dataset.ts";

const GOAL = 3;
/** Stories that everybody looks at. */
const HOT = 5;
/** As many views spread over so many stories, where few meet. */
const SPREAD = 500;
/** Connections to Postgres, those of a server's pool. */
const POOL = 10;
/** Of how many answers one is looked at. */
const LOOKED_AT = 50;

export interface StoriesBenchOptions {
  viewers: number;
  pairs: number;
  connections: number;
  seed: number;
  executable: string;
  log: (line: string) => void;
}

interface Bench extends StoriesBenchOptions {
  server: BenchServer;
  database: BenchDatabase;
  generator: LoadGenerator;
  dataset: StoriesDataset;
  db: Db;
  views: Views;
  /** Stories that nobody has looked at yet begin here. */
  fresh: number;
}

/** Measures views as the product writes them against the same statement for each view by itself. */
export async function benchStories(options: StoriesBenchOptions): Promise<Report> {
  const started_at = new Date().toISOString();
  const { viewers, pairs, seed, connections, log } = options;
  await using stack = new AsyncDisposableStack();
  const generator = startLoadGenerator();
  stack.defer(() => generator.stop());
  const server = await startBenchServer(options.executable);
  stack.defer(() => server.stop());
  const database = await openBenchDatabase(server.dataDir);
  stack.defer(() => database.close());
  const dataset = makeStoriesDataset({ viewers, stories: (pairs + 1) * (3 * HOT + 2 * SPREAD), seed });
  await database.load(dataset.tables);
  const db = database.connect(POOL);
  const views = new Views({ db, log: pino({ level: "silent" }), notices: createNotices().notices, redis: null });
  const bench: Bench = { ...options, server, database, generator, dataset, db, views, fresh: 0 };

  const batched = async ({ viewer_id, story_id }: ViewPair) => (await views.view(viewer_id, story_id)).new_view;
  const single = async (pair: ViewPair) => (await recordViews(db, [pair]))[0]?.new_view === true;
  const contestants = {
    batched: () => measure(bench, HOT, (asked) => called(asked, connections, batched)),
    single: () => measure(bench, HOT, (asked) => called(asked, connections, single)),
    http: () => measure(bench, HOT, (asked) => overHttp(bench, asked)),
    batched_spread: () => measure(bench, SPREAD, (asked) => called(asked, connections, batched)),
    single_spread: () => measure(bench, SPREAD, (asked) => called(asked, connections, single)),
  };
  const names = Object.keys(contestants) as (keyof typeof contestants)[];
  const runs = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<
    keyof typeof contestants,
    number[]
  >;
  // The first pair warms connections and caches up, and is not counted.
  for (let pair = 0; pair <= pairs; pair++) {
    // Each is the first as often as the last.
    for (let turn = 0; turn < names.length; turn++) {
      const name = names[(turn + pair) % names.length] as keyof typeof contestants;
      const perSecond = await contestants[name]();
      if (pair > 0) runs[name].push(perSecond);
    }
    if (pair === 0) continue;
    const said = names.map((name) => `${name} ${Math.round(runs[name].at(-1) ?? 0)}`);
    log(`pair ${pair} of ${pairs}, views a second: ${said.join(", ")}`);
  }
  const share = (name: keyof typeof runs, of: keyof typeof runs) =>
    median(runs[name].map((value, pair) => value / (runs[of][pair] ?? Number.NaN)));
  return {
    bench: "stories",
    started_at,
    machine: describeMachine(),
    figures: {
      viewers,
      callers: connections,
      http_views_per_s: median(runs.http),
      spread_batched_per_s: median(runs.batched_spread),
      spread_single_per_s: median(runs.single_spread),
      spread_batched_vs_single: share("batched_spread", "single_spread"),
    },
    ratios: [
      judged({
        name: "story_views_batched_vs_single",
        value: share("batched", "single"),
        goal: GOAL,
        reference: {
          name: "the same views, each in a transaction of its own",
          value: median(runs.single),
          unit: "views/s",
        },
        measured: { value: median(runs.batched), unit: "views/s" },
      }),
    ],
  };
}

/**
 * Has everybody look at stories that nobody has seen, as many times as there are viewers for each of HOT.
 * @returns views a second. @throws OperationError where a view was not new, or is not counted.
 */
async function measure(
  bench: Bench,
  stories: number,
  look: (asked: readonly ViewPair[]) => Promise<number>,
): Promise<number> {
  const { dataset, database, viewers } = bench;
  const ids = dataset.storyIds.slice(bench.fresh, bench.fresh + stories);
  bench.fresh += stories;
  // All look at one story, and then at the next; or each at another.
  const asked = Array.from({ length: viewers * HOT }, (_, n) => ({
    story_id: ids[stories === HOT ? Math.floor(n / viewers) : (n + Math.floor(n / viewers) * 97) % stories] ?? "",
    viewer_id: dataset.viewerIds[n % viewers] ?? "",
  }));
  const distinct = new Set(asked.map(({ story_id, viewer_id }) => `${story_id} ${viewer_id}`)).size;
  const seconds = await look(asked);
  const { rows } = await database.client.query<{ rows: number; counted: number }>(
    `SELECT (SELECT count(*)::int FROM story_views WHERE story_id = ANY ($1::uuid[])) AS rows,
       (SELECT sum(view_count)::int FROM stories WHERE id = ANY ($1::uuid[])) AS counted`,
    [ids],
  );
  if (rows[0]?.rows !== distinct || rows[0].counted !== distinct) {
    throw new OperationError(`${rows[0]?.rows} views are there and ${rows[0]?.counted} counted, not ${distinct}`);
  }
  return asked.length / seconds;
}

/** @returns seconds. @throws OperationError where a view was not new. */
async function called(
  asked: readonly ViewPair[],
  callers: number,
  view: (pair: ViewPair) => Promise<boolean>,
): Promise<number> {
  const left = asked.values();
  const begin = performance.now();
  await Promise.all(
    Array.from({ length: callers }, async () => {
      for (const pair of left) if (!(await view(pair))) throw new OperationError("a view was not a new one");
    }),
  );
  return (performance.now() - begin) / 1_000;
}

/** @returns seconds. */
async function overHttp(bench: Bench, asked: readonly ViewPair[]): Promise<number> {
  const { server, generator, dataset, viewers, connections, seed } = bench;
  const { host } = new URL(server.url);
  const requests = asked.map(({ story_id }, n) =>
    requestOf({ host, method: "POST", path: `/api/v1/stories/${story_id}/view`, token: dataset.tokenOf(n % viewers) }),
  );
  const result = await generator.run({
    ...loadTo(server.url, { connections, seed }),
    arrivals: { model: "once" },
    classes: [{ name: "views", share: 1, draw: "turn", requests, keepOneOf: LOOKED_AT }],
  });
  assertAnswered(result);
  const [views] = result.classes;
  if (!views) throw new Error("there is one class");
  for (const { body } of views.kept) {
    if (JSON.parse(body.toString()).new_view !== true) throw new OperationError("a view was not a new one");
  }
  return asked.length / views.perSecond;
}
