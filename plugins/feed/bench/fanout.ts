import { createHistogram } from "node:perf_hooks";
import { openBenchDatabase } from "../../../src/bench/database.ts";
import { assertAnswered, loadTo, startLoadGenerator } from "../../../src/bench/load/generator.ts";
import { type BenchRedis, redisBenchmark, startBenchRedis } from "../../../src/bench/redis-server.ts";
import { describeMachine, judged, type Report } from "../../../src/bench/report.ts";
import { type BenchServer, startBenchServer } from "../../../src/bench/server.ts";
import { median } from "../../../src/bench/statistics.ts";
import { OperationError } from "../../../src/errors.ts";
import { type FanoutDataset, makeFanoutDataset } from "./fanout-dataset.ts";
import { arrival, type Person, person, publication, until } from "./people.ts";
import { pagesOf } from "./requests.ts";

const GOAL = 0.7;
/** What the reference does: members to sorted sets, as many as there are timelines, in batches of 100 without waiting. */
const REFERENCE = ["-P", "100"];

export interface FanoutBenchOptions {
  followers: number;
  posts: number;
  pairs: number;
  pushes: number;
  seed: number;
  executable: string;
  log: (line: string) => void;
}

/** Measures fan-outs of one author's posts, on a server of its own. */
export async function benchFanout(options: FanoutBenchOptions): Promise<Report> {
  const started_at = new Date().toISOString();
  const { executable, followers, log } = options;
  await using stack = new AsyncDisposableStack();
  const redis = await startBenchRedis();
  stack.defer(() => redis.stop());
  // Said at once if it is not there, and not when all has been loaded.
  await reference(redis, { followers: 1, pushes: 1_000 });
  const dataset = makeFanoutDataset(options);
  const server = await startBenchServer(executable, {
    TINTYPE_REDIS_URL: redis.url,
    TINTYPE_FEED_FANOUT_THRESHOLD: String(followers + 1),
    TINTYPE_LIMITS_ENABLED: "false",
  });
  stack.defer(() => server.stop());
  const database = await openBenchDatabase(server.dataDir);
  stack.defer(() => database.close());
  const loaded = await database.load(dataset.tables);
  log(`loaded ${loaded.rows} rows; building ${followers} timelines`);
  const built = await buildTimelines(server, dataset, options);
  const someone = (user: number) =>
    person(server.url, { username: dataset.usernameOf(user), token: dataset.tokenOf(user) });
  const [author, follower] = [someone(0), someone(1 + (options.seed % followers))];

  const own: number[] = [];
  const others: number[] = [];
  // The first pair warms compilers and caches up.
  for (let pair = -1; pair < options.pairs; pair++) {
    const fannedOut = await fanOutOnce(server, author, followers);
    const perSecond = await reference(redis, options);
    if (pair < 0) continue;
    own.push(fannedOut);
    others.push(perSecond);
    log(
      `pair ${pair + 1} of ${options.pairs}: ${Math.round(fannedOut)} followers a second, redis-benchmark ${Math.round(perSecond)}`,
    );
  }
  log(`waiting for ${options.posts} posts in a follower's feed`);
  const arrivals = await measureArrivals(author, follower, options.posts);
  return {
    bench: "fanout",
    started_at,
    machine: describeMachine(),
    figures: { followers, timelines_built_per_second: built, ...arrivals },
    ratios: [
      judged({
        name: "fanout_vs_redis_benchmark",
        value: median(own.map((value, pair) => value / (others[pair] ?? Number.NaN))),
        goal: GOAL,
        reference: { name: "redis-benchmark's pipelined ZADD", value: median(others), unit: "pushes/s" },
        measured: { value: median(own), unit: "followers/s" },
      }),
    ],
  };
}

/** Each follower reads their feed once. @returns timelines a second. */
async function buildTimelines(
  server: BenchServer,
  dataset: FanoutDataset,
  { followers, seed }: FanoutBenchOptions,
): Promise<number> {
  const generator = startLoadGenerator();
  try {
    const tokens = Array.from({ length: followers }, (_, index) => dataset.tokenOf(index + 1));
    const result = await generator.run({
      ...loadTo(server.url, { connections: 8, seed }),
      arrivals: { model: "once" },
      classes: [pagesOf(new URL(server.url).host, tokens, { draw: "turn" })],
    });
    assertAnswered(result);
    return followers / result.seconds;
  } finally {
    await generator.stop();
  }
}

/**
 * Publishes a post. @returns followers a second, from when its jobs were taken to their last pushes, as the worker logs it.
 * @throws OperationError when some of the timelines were not there.
 */
async function fanOutOnce(server: BenchServer, author: Person, followers: number): Promise<number> {
  await server.log();
  const postId = await author.post();
  const done = { followers: 0, pushed: 0, ms: 0 };
  await until(`the fan-out of ${postId}`, async () => {
    for (const line of await server.log()) {
      if (line.msg !== "fanned out" || line.post_id !== postId) continue;
      done.followers += Number(line.followers);
      done.pushed += Number(line.pushed);
      done.ms += Number(line.ms);
    }
    return done.followers >= followers ? true : undefined;
  });
  if (done.pushed < followers) {
    throw new OperationError(`a post of ${followers} followers came to ${done.pushed} timelines`);
  }
  return (followers * 1000) / done.ms;
}

/** @returns commands a second. */
function reference(redis: BenchRedis, { followers, pushes }: { followers: number; pushes: number }): Promise<number> {
  const command = ["ZADD", "bench:__rand_int__", "1", "e__rand_int__"];
  return redisBenchmark(redis, ["-n", String(pushes), ...REFERENCE, "-r", String(followers), ...command]);
}

/** From the upload's acknowledgement, and from the publication, until a post is in a follower's feed, one after the other. */
export async function measureArrivals(
  author: Person,
  follower: Person,
  posts: number,
): Promise<Record<string, number>> {
  const [uploaded, published] = [createHistogram(), createHistogram()];
  for (let count = 0; count < posts; count++) {
    const postId = await author.post();
    const begin = performance.now();
    await arrival(follower, postId);
    const arrived = Date.now();
    uploaded.record(Math.max(1, Math.round(performance.now() - begin)));
    published.record(Math.max(1, arrived - (await publication(author, postId))));
  }
  return {
    posts,
    uploaded_to_feed_p50_ms: uploaded.percentile(50),
    uploaded_to_feed_p99_ms: uploaded.percentile(99),
    published_to_feed_p50_ms: published.percentile(50),
    published_to_feed_p99_ms: published.percentile(99),
  };
}
