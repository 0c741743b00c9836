import { fork } from "node:child_process";
import { dirname } from "node:path";
import { type BenchDatabase, openBenchDatabase } from "../../../src/bench/database.ts";
import { assertAnswered, type LoadGenerator, loadTo, startLoadGenerator } from "../../../src/bench/load/generator.ts";
import type { KeptAnswer } from "../../../src/bench/load/plan.ts";
import { startBenchRedis } from "../../../src/bench/redis-server.ts";
import { startBufferReference, startReference } from "../../../src/bench/reference.ts";
import { describeMachine, type Report } from "../../../src/bench/report.ts";
import { type BenchServer, startBenchServer } from "../../../src/bench/server.ts";
import { makeChanges } from "./changes.ts";
import { type Dataset, type DatasetOptions, makeDataset } from "./dataset.ts";
import { measureDeepPages } from "./deep-pages.ts";
import { comparePairs, LOAD, measureOpen } from "./load.ts";
import { feedIn, pagesOf } from "./requests.ts";
import { verifyAnswers, verifyPages } from "./verify.ts";

/** Whose pages are compared with Postgres, before and after the load. */
const COMPARED = 40;
export interface FeedBenchOptions extends DatasetOptions {
  viewers: number;
  pairs: number;
  seconds: number;
  connections: number;
  executable: string;
  log: (line: string) => void;
}

interface Bench {
  options: FeedBenchOptions;
  dataset: Dataset;
  server: BenchServer;
  database: BenchDatabase;
  generator: LoadGenerator;
  /** Accounts, the one who comes most often first. */
  viewers: number[];
}

/** Measures feed pages on a data set and a server of its own. */
export async function benchFeed(options: FeedBenchOptions): Promise<Report> {
  const started_at = new Date().toISOString();
  const { executable, log } = options;
  await using stack = new AsyncDisposableStack();
  const redis = await startBenchRedis();
  stack.defer(() => redis.stop());
  log(`making ${options.users} accounts and ${options.posts} posts`);
  const dataset = makeDataset(options);
  const server = await startBenchServer(executable, {
    TINTYPE_REDIS_URL: redis.url,
    TINTYPE_FEED_FANOUT_THRESHOLD: String(dataset.threshold),
    TINTYPE_LIMITS_ENABLED: "false",
  });
  stack.defer(() => server.stop());
  const database = await openBenchDatabase(server.dataDir);
  stack.defer(() => database.close());
  const loaded = await database.load(dataset.tables);
  log(`loaded ${loaded.rows} rows, ${Math.round(loaded.rows / loaded.seconds)} a second`);
  const deep = await measureDeepPages(database, dataset);
  const generator = startLoadGenerator();
  stack.defer(() => generator.stop());
  const viewers = viewersOf(dataset, options.viewers);
  const bench: Bench = { options, dataset, server, database, generator, viewers };

  const warmed = await warm(bench);
  const body = await typicalPage(bench);
  const buffer = await startBufferReference(body);
  stack.defer(() => buffer.stop());
  const sameAuth = await startReference(
    fork(executable, ["bench", "reference", "--redis", redis.url], {
      serialization: "advanced",
      execArgv: [],
      cwd: dirname(server.dataDir),
      env: { TINTYPE_DATA_DIR: server.dataDir, TINTYPE_REDIS_URL: redis.url },
    }),
    body,
  );
  stack.defer(() => sameAuth.stop());
  const changes = await makeChanges(database.client, dataset, viewers);
  const load = {
    ...options,
    generator,
    url: server.url,
    tokens: viewers.map(dataset.tokenOf),
    changes: changes.requests(new URL(server.url).host),
    verify: (kept: KeptAnswer[]) => verifyAnswers(dataset, kept, { viewers, passing: changes.passing }),
  };
  const compared = await comparePairs(load, { buffer, same_auth: sameAuth });
  const open = await measureOpen(load, compared.capacity * LOAD);
  await verifyPages(database.client, dataset, await firstPages(bench, COMPARED));
  return {
    bench: "feed",
    started_at,
    machine: describeMachine(),
    figures: {
      users: options.users,
      posts: options.posts,
      celebrities: options.celebrities,
      rows_loaded: loaded.rows,
      rows_loaded_per_second: loaded.rows / loaded.seconds,
      viewers: viewers.length,
      ...warmed,
      page_bytes: body.length,
      ...compared.figures,
      ...open,
      ...deep.figures,
    },
    ratios: [...compared.ratios, deep.ratio],
  };
}

/** Accounts from all ranks, so that who comes often is no author of many posts. */
function viewersOf({ options: { users } }: Dataset, count: number): number[] {
  const some = Math.min(count, users);
  return Array.from({ length: some }, (_, index) => Math.floor(((index * 7919) % some) * (users / some)));
}

/** Each viewer's first page once, by which their timelines are built. */
async function warm({ generator, server, dataset, viewers, options: { log } }: Bench): Promise<Record<string, number>> {
  log(`building the timelines of ${viewers.length} viewers`);
  const tokens = viewers.map(dataset.tokenOf);
  const { host } = new URL(server.url);
  const result = await generator.run({
    ...loadTo(server.url, { connections: 8, seed: 1 }),
    arrivals: { model: "once" },
    classes: [pagesOf(host, tokens, { draw: "turn" })],
  });
  assertAnswered(result);
  return { timelines_built_per_second: viewers.length / result.seconds };
}

/** The bytes of one page of middling length. @throws OperationError when some of the pages are not what Postgres says. */
async function typicalPage(bench: Bench): Promise<Buffer> {
  const pages = await firstPages(bench, COMPARED);
  await verifyPages(bench.database.client, bench.dataset, pages);
  const bytes = pages.map(({ bytes }) => bytes).sort((a, b) => a.length - b.length);
  return bytes[Math.floor(bytes.length / 2)] ?? Buffer.alloc(0);
}

async function firstPages({ generator, server, dataset, viewers }: Bench, count: number) {
  const some = viewers.filter((_, index) => index % Math.ceil(viewers.length / count) === 0);
  const result = await generator.run({
    ...loadTo(server.url, { connections: 1, seed: 1 }),
    arrivals: { model: "once" },
    classes: [pagesOf(new URL(server.url).host, some.map(dataset.tokenOf), { draw: "turn", keepOneOf: 1 })],
  });
  const [{ kept } = { kept: [] }] = result.classes;
  return kept.map((answer) => ({ viewer: some[answer.request] ?? -1, body: feedIn(answer), bytes: answer.body }));
}
