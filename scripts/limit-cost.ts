/**
 * `npm run measure:limits [-- --pairs 10 --likes 4000]`: what a limit costs. Likes a second of a server that keeps its limits in Redis
 * and of one that has none, in turn; and what a log of a hundred places takes in Redis as a string, a sorted set and a list. Figures are medians. The goal is that the check takes a tenth of a like at most.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Redis } from "ioredis";
import { makeDataset } from "../plugins/feed/bench/dataset.ts";
import { ruleOf } from "../plugins/limits/log.ts";
import { openBenchDatabase } from "../src/bench/database.ts";
import { assertAnswered, loadTo, startLoadGenerator } from "../src/bench/load/generator.ts";
import { Random } from "../src/bench/random.ts";
import { startBenchRedis } from "../src/bench/redis-server.ts";
import { describeMachine, formatReport, judged } from "../src/bench/report.ts";
import { requestOf } from "../src/bench/request.ts";
import { type BenchServer, startBenchServer } from "../src/bench/server.ts";
import { median } from "../src/bench/statistics.ts";
import { CANDIDATES, type Candidate } from "./limits/candidates.ts";

const { values } = parseArgs({
  options: { pairs: { type: "string", default: "10" }, likes: { type: "string", default: "4000" } },
});
const pairs = Number(values.pairs);
const likes = Number(values.likes);
if (!(pairs >= 1 && likes >= 1_000)) throw new Error("--pairs wants 1 or more, --likes 1000 or more");

const GOAL = 0.9;
const LIKERS = 1_000;
const PLACES = 100;
/** Logs. */
const KEYS = 500;
const AT_ONCE = 100;

const say = (line: string) => process.stderr.write(`${line}\n`);
const started_at = new Date().toISOString();
await using stack = new AsyncDisposableStack();
const redis = await startBenchRedis();
stack.defer(() => redis.stop());
const client = new Redis(redis.url, { enableAutoPipelining: true });
stack.defer(() => client.disconnect());
const generator = startLoadGenerator();
stack.defer(() => generator.stop());

/** Seconds of processor time that Redis has taken. */
async function processorTime(): Promise<number> {
  const info = await client.info("cpu");
  return ["user", "sys"].reduce(
    (sum, kind) => sum + Number(new RegExp(`used_cpu_${kind}:([\\d.]+)`).exec(info)?.[1]),
    0,
  );
}

/** Fills each log, then asks again: microseconds of Redis' processor time a call. */
async function measureLog({ name, take }: Candidate): Promise<Record<string, number>> {
  await client.flushall();
  await client.script("LOAD", take.lua);
  const { window, slot, most } = ruleOf({ most: PLACES, window: 3_600_000 });
  const each = async (times: number) => {
    const before = await processorTime();
    let next = 0;
    await Promise.all(
      Array.from({ length: AT_ONCE }, async () => {
        while (next < times) await client.evalsha(take.sha, 1, `log:${next++ % KEYS}`, window, slot, most, 1);
      }),
    );
    return (((await processorTime()) - before) * 1_000_000) / times;
  };
  const taken = await each(KEYS * PLACES);
  const refused = await each(KEYS * PLACES);
  const bytes = Number(await client.memory("USAGE", "log:0"));
  return { [`${name}, taken, µs`]: taken, [`${name}, refused, µs`]: refused, [`${name}, bytes`]: bytes };
}

const logs: Record<string, number>[] = [];
for (let round = 0; round < 5; round++) {
  say(`logs, round ${round + 1} of 5`);
  const figures: Record<string, number> = {};
  for (const candidate of CANDIDATES) Object.assign(figures, await measureLog(candidate));
  logs.push(figures);
}

const dataset = makeDataset({ users: 2_000, posts: 20_000, following: 5, follows: "even", celebrities: 1, seed: 1 });
interface Side {
  server: BenchServer;
  posts: string[];
  perSecond: number[];
}

const servers: Side[] = [];
for (const enabled of ["true", "false"]) {
  const server = await startBenchServer(join(import.meta.dirname, "../bin/tintype.js"), {
    TINTYPE_REDIS_URL: redis.url,
    TINTYPE_REDIS_KEY_PREFIX: `${enabled}:`,
    TINTYPE_FEED_FANOUT_THRESHOLD: String(dataset.threshold),
    TINTYPE_LIMITS_ENABLED: enabled,
    TINTYPE_LIMITS_LIKE: `${PLACES}/1h`,
  });
  stack.defer(() => server.stop());
  say("loading");
  const database = await openBenchDatabase(server.dataDir);
  stack.defer(() => database.close());
  await database.load(dataset.tables);
  const { rows } = await database.client.query<{ id: string }>(
    "SELECT posts.id FROM posts JOIN users ON users.id = user_id WHERE NOT is_private AND published_at IS NOT NULL ORDER BY 1",
  );
  servers.push({ server, posts: rows.map(({ id }) => id), perSecond: [] });
}

/** Likes that nobody has given before, so that each writes. */
async function like({ server, posts, perSecond }: Side, round: number): Promise<void> {
  const { host } = new URL(server.url);
  const random = new Random(round);
  const requests = Array.from({ length: likes }, (_, index) => {
    const post = posts[(round * likes + index) % posts.length] ?? "";
    return requestOf({
      host,
      method: "POST",
      path: `/api/v1/posts/${post}/like`,
      token: dataset.tokenOf((index + random.below(2)) % LIKERS),
    });
  });
  const result = await generator.run({
    ...loadTo(server.url, { connections: 32, seed: round }),
    arrivals: { model: "once" },
    classes: [{ name: "likes", share: 1, draw: "turn", requests, keepOneOf: 0 }],
  });
  assertAnswered(result);
  if (round > 0) perSecond.push(likes / result.seconds);
}

// The first compiles what is measured later.
for (let round = 0; round <= pairs; round++) {
  say(round === 0 ? "warming up" : `likes, pair ${round} of ${pairs}`);
  for (const one of round % 2 === 0 ? servers : servers.toReversed()) await like(one, round);
}
const [on, off] = servers;
const ratios = on?.perSecond.map((one, index) => one / (off?.perSecond[index] ?? 0)) ?? [];
const middle = (values: readonly number[] = []) => median(values);
process.stdout.write(
  `${formatReport({
    bench: "limits",
    started_at,
    machine: describeMachine(),
    figures: Object.fromEntries(
      Object.keys(logs[0] ?? {}).map((name) => [name, middle(logs.map((figures) => figures[name] ?? 0))]),
    ),
    ratios: [
      judged({
        name: "likes_limited_vs_unlimited",
        value: middle(ratios),
        goal: GOAL,
        reference: { name: "the same without limits", value: middle(off?.perSecond), unit: "likes/s" },
        measured: { value: middle(on?.perSecond), unit: "likes/s" },
      }),
    ],
  })}\n`,
);
