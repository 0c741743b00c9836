import { type BenchDatabase, openBenchDatabase } from "../../../src/bench/database.ts";
import { assertAnswered, type LoadGenerator, loadTo, startLoadGenerator } from "../../../src/bench/load/generator.ts";
import { describeMachine, judged, type Report } from "../../../src/bench/report.ts";
import { requestOf } from "../../../src/bench/request.ts";
import { type BenchServer, startBenchServer } from "../../../src/bench/server.ts";
import { median } from "../../../src/bench/statistics.ts";
import { OperationError } from "../../../src/errors.ts";
import { type LikesDataset, makeLikesDataset } from "./dataset.ts";

const GOAL = 0.9;
/** Posts that likes are spread over; each liker likes another one of them in each pair. */
const SPREAD = 5_000;
/** Of how many answers one is looked at. */
const LOOKED_AT = 50;
/** Milliseconds between two looks at a log that is being rolled up. */
const LOOK_EVERY = 50;
/** Likes of each post in the log whose roll-up is measured. */
const LOGGED_EACH = 4;

export interface LikesBenchOptions {
  likers: number;
  pairs: number;
  connections: number;
  seed: number;
  executable: string;
  log: (line: string) => void;
}

/** One server with its data set. */
interface Bench extends LikesBenchOptions {
  server: BenchServer;
  database: BenchDatabase;
  generator: LoadGenerator;
  dataset: LikesDataset;
  /** Likes that there are. */
  liked: number;
}

interface Run {
  perSecond: number;
  p50: number;
  p99: number;
}

/** Measures likes of one post by everybody against as many that are spread over many posts, on a server of its own. */
export async function benchLikes(options: LikesBenchOptions): Promise<Report> {
  const started_at = new Date().toISOString();
  const { pairs, log } = options;
  await using stack = new AsyncDisposableStack();
  const generator = startLoadGenerator();
  stack.defer(() => generator.stop());
  const unlimited = await open(options, generator, stack, { TINTYPE_LIMITS_ENABLED: "false" });
  const limited = await open(options, generator, stack, { TINTYPE_LIMITS_LIKE: "1000/1h" });

  const runs = { hot: [] as Run[], spread: [] as Run[], limited: [] as Run[] };
  const contestants = [
    { name: "hot", measure: (pair: number) => like(unlimited, (_) => pair) },
    { name: "spread", measure: (pair: number) => like(unlimited, spreadOver(options, pair)) },
    { name: "limited", measure: (pair: number) => like(limited, spreadOver(options, pair)) },
  ] as const;
  // The first pair warms compilers, sessions and caches up, and is not counted.
  for (let pair = 0; pair <= pairs; pair++) {
    // Each is the first as often as the last.
    for (let turn = 0; turn < contestants.length; turn++) {
      const { name, measure } = contestants[(turn + pair) % contestants.length] as (typeof contestants)[number];
      const run = await measure(pair);
      if (pair > 0) runs[name].push(run);
    }
    if (pair === 0) continue;
    const said = contestants.map(({ name }) => `${name} ${Math.round(runs[name].at(-1)?.perSecond ?? 0)}`);
    log(`pair ${pair} of ${pairs}, likes a second: ${said.join(", ")}`);
  }
  const rolledUpPerSecond = await rollUp(unlimited);
  const perSecond = (name: keyof typeof runs) => runs[name].map((run) => run.perSecond);
  const share = (name: keyof typeof runs, of: keyof typeof runs) =>
    median(perSecond(name).map((value, pair) => value / (perSecond(of)[pair] ?? Number.NaN)));
  return {
    bench: "likes",
    started_at,
    machine: describeMachine(),
    figures: {
      likers: options.likers,
      hot_p50_ms: median(runs.hot.map(({ p50 }) => p50)),
      hot_p99_ms: median(runs.hot.map(({ p99 }) => p99)),
      spread_p50_ms: median(runs.spread.map(({ p50 }) => p50)),
      spread_p99_ms: median(runs.spread.map(({ p99 }) => p99)),
      rolled_up_per_s: rolledUpPerSecond,
      like_limit_check_share: share("limited", "spread"),
    },
    ratios: [
      judged({
        name: "likes_hot_vs_spread",
        value: share("hot", "spread"),
        goal: GOAL,
        reference: { name: `likes spread over ${SPREAD} posts`, value: median(perSecond("spread")), unit: "likes/s" },
        measured: { value: median(perSecond("hot")), unit: "likes/s" },
      }),
    ],
  };
}

async function open(
  options: LikesBenchOptions,
  generator: LoadGenerator,
  stack: AsyncDisposableStack,
  settings: Record<string, string>,
): Promise<Bench> {
  const server = await startBenchServer(options.executable, settings);
  stack.defer(() => server.stop());
  const database = await openBenchDatabase(server.dataDir);
  stack.defer(() => database.close());
  const dataset = makeLikesDataset({ ...options, posts: options.pairs + 1 + SPREAD });
  await database.load(dataset.tables);
  return { ...options, server, database, generator, dataset, liked: 0 };
}

/** By liker, which post: behind the hot ones, and for each of them another in each pair. */
function spreadOver({ pairs }: LikesBenchOptions, pair: number): (liker: number) => number {
  return (liker) => pairs + 1 + ((liker + pair * 7) % SPREAD);
}

/** Everybody likes once, each a post that they have not liked before. @throws OperationError where one was no new like. */
async function like(bench: Bench, postOf: (liker: number) => number): Promise<Run> {
  const { server, database, generator, dataset, likers, connections, seed } = bench;
  const { host } = new URL(server.url);
  const requests = Array.from({ length: likers }, (_, liker) =>
    requestOf({
      host,
      method: "POST",
      path: `/api/v1/posts/${dataset.postIds[postOf(liker)]}/like`,
      token: dataset.tokenOf(liker),
    }),
  );
  const result = await generator.run({
    ...loadTo(server.url, { connections, seed }),
    arrivals: { model: "once" },
    classes: [{ name: "likes", share: 1, draw: "turn", requests, keepOneOf: LOOKED_AT }],
  });
  assertAnswered(result);
  const [likes] = result.classes;
  if (!likes) throw new Error("there is one class");
  for (const { body } of likes.kept) {
    if (JSON.parse(body.toString()).idempotent !== false) throw new OperationError("a like was not a new one");
  }
  bench.liked += likers;
  const { rows } = await database.client.query<{ likes: number }>("SELECT count(*)::int AS likes FROM likes");
  if (rows[0]?.likes !== bench.liked) throw new OperationError(`${rows[0]?.likes} likes are there, not ${bench.liked}`);
  await rolledUp(database);
  return { perSecond: likes.perSecond, p50: likes.latency.p50, p99: likes.latency.p99 };
}

/** Has the worker roll up a log of likes of many posts, with all that follows from it. @returns rows a second. */
async function rollUp({ server, database: { client }, dataset }: Bench): Promise<number> {
  await client.query(
    `INSERT INTO like_log (post_id, author_id, user_id, delta)
     SELECT posts.id, posts.user_id, likers.id, 1 FROM (SELECT id FROM users ORDER BY id DESC LIMIT ${LOGGED_EACH}) AS likers
     CROSS JOIN (SELECT id, user_id FROM posts ORDER BY id LIMIT ${SPREAD}) AS posts`,
  );
  const left = async () => {
    const { rows } = await client.query<{ left: number }>("SELECT count(*)::int AS left FROM like_log");
    return { rows: rows[0]?.left ?? 0, at: performance.now() };
  };
  const logged = (await left()).rows;
  // A like wakes the worker; how long that takes is not measured.
  const { status } = await fetch(`${server.url}/api/v1/posts/${dataset.postIds.at(-1)}/like`, {
    method: "POST",
    headers: { authorization: `Bearer ${dataset.tokenOf(0)}` },
  });
  if (status !== 200) throw new OperationError(`a like was answered with ${status}`);
  let begun = await left();
  while (begun.rows >= logged) begun = await left();
  let end = begun;
  while (end.rows > 0) end = await left();
  return (begun.rows / (end.at - begun.at)) * 1_000;
}

/** What one leaves to the worker is not done in the time of the next. */
async function rolledUp({ client }: BenchDatabase): Promise<void> {
  for (;;) {
    const { rowCount } = await client.query("SELECT FROM like_log LIMIT 1");
    if (rowCount === 0) return;
    await new Promise((later) => setTimeout(later, LOOK_EVERY));
  }
}
