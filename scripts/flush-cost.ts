/**
 * `npm run measure:flush [-- --seconds 20]`: a server at four fifths of what it can do, four of five requests for feeds and one for
 * something that needs no Redis; then the same with one FLUSHALL. How long the others' answers take, how
 * many feeds are refused, and whether all feeds are right in the end. The goal is that the p95 of what does not need
 * Redis stays within three times.
 */
import { parseArgs } from "node:util";
import { Redis } from "ioredis";
import { makeDataset } from "../plugins/feed/bench/dataset.ts";
import { feedIn, pagesOf } from "../plugins/feed/bench/requests.ts";
import { verifyPages } from "../plugins/feed/bench/verify.ts";
import { openBenchDatabase } from "../src/bench/database.ts";
import { loadTo, startLoadGenerator } from "../src/bench/load/generator.ts";
import type { LoadPlan, LoadResult } from "../src/bench/load/plan.ts";
import { startBenchRedis } from "../src/bench/redis-server.ts";
import { describeMachine, formatReport, judged } from "../src/bench/report.ts";
import { startBenchServer } from "../src/bench/server.ts";

const { values } = parseArgs({ options: { seconds: { type: "string", default: "20" } } });
const seconds = Number(values.seconds);
if (!(seconds >= 5)) throw new Error("--seconds wants 5 or more");

const GOAL = 3;
const LOAD = 0.8;
const VIEWERS = 1_000;
/** Of the time, how much goes by before it. */
const FLUSH_AFTER = 0.25;
const OTHERS = 0.2;

const say = (line: string) => process.stderr.write(`${line}\n`);
const started_at = new Date().toISOString();
await using stack = new AsyncDisposableStack();
const redis = await startBenchRedis();
stack.defer(() => redis.stop());
const dataset = makeDataset({ users: 5_000, posts: 50_000, following: 50, follows: "zipf", celebrities: 5, seed: 1 });
const server = await startBenchServer(process.argv[1]?.replace(/scripts.*/, "bin/tintype.js") ?? "", {
  TINTYPE_REDIS_URL: redis.url,
  TINTYPE_FEED_FANOUT_THRESHOLD: String(dataset.threshold),
});
stack.defer(() => server.stop());
const database = await openBenchDatabase(server.dataDir);
stack.defer(() => database.close());
say("loading");
await database.load(dataset.tables);
const generator = startLoadGenerator();
stack.defer(() => generator.stop());
const client = new Redis(redis.url);
stack.defer(() => client.disconnect());

const tokens = Array.from({ length: VIEWERS }, (_, index) => dataset.tokenOf(index * 5));
const { host } = new URL(server.url);
const run = (arrivals: LoadPlan["arrivals"], connections = 64): Promise<LoadResult> =>
  generator.run({
    ...loadTo(server.url, { connections, seed: 1 }),
    arrivals,
    classes: [
      pagesOf(host, tokens, { share: 1 - OTHERS }),
      { ...pagesOf(host, tokens, { share: OTHERS, path: "/api/v1/me" }), name: "others" },
    ],
  });
const of = ({ classes }: LoadResult, name: string) => {
  const found = classes.find((one) => one.name === name);
  if (!found) throw new Error(`there are no ${name}`);
  return found;
};

say("finding out what the server can do");
await run({ model: "closed", seconds: 5 });
const capacity = (await run({ model: "closed", seconds: 5 })).classes.reduce((sum, one) => sum + one.perSecond, 0);
const arrivals = { model: "open", rate: capacity * LOAD, seconds } as const;
say(`sending ${Math.round(arrivals.rate)} requests a second`);
const quiet = await run(arrivals, 512);
say("and again, with FLUSHALL");
const flushing = setTimeout(() => void client.flushall(), seconds * 1_000 * FLUSH_AFTER);
const flushed = await run(arrivals, 512);
clearTimeout(flushing);

say("comparing feeds with Postgres");
const some = Array.from({ length: 40 }, (_, index) => index * 125);
const after = await generator.run({
  ...loadTo(server.url, { connections: 1, seed: 1 }),
  arrivals: { model: "once" },
  classes: [pagesOf(host, some.map(dataset.tokenOf), { draw: "turn", keepOneOf: 1 })],
});
const pages = of(after, "pages").kept.map((answer) => ({ viewer: some[answer.request] ?? -1, body: feedIn(answer) }));
await verifyPages(database.client, dataset, pages);

const { statuses } = of(flushed, "pages");
const refused = statuses[503] ?? 0;
const before = of(quiet, "others").latency.p95;
const during = of(flushed, "others").latency.p95;
process.stdout.write(
  `${formatReport({
    bench: "flush",
    started_at,
    machine: describeMachine(),
    figures: {
      capacity_per_second: capacity,
      rate_per_second: arrivals.rate,
      feeds_p95_ms: of(quiet, "pages").latency.p95,
      feeds_flushed_p95_ms: of(flushed, "pages").latency.p95,
      feeds_flushed_answered: statuses[200] ?? 0,
      feeds_flushed_refused: refused,
      // Neither answered nor refused within ten seconds after the end.
      feeds_flushed_unanswered: statuses[0] ?? 0,
      feeds_right_afterwards: pages.length,
    },
    ratios: [
      judged({
        name: "others_p95_while_redis_is_flushed",
        value: during / before,
        goal: GOAL,
        at_most: true,
        reference: { name: "the same load without FLUSHALL", value: before, unit: "ms" },
        measured: { value: during, unit: "ms" },
      }),
    ],
  })}\n`,
);
