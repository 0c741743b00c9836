/**
 * `npm run measure:limits [-- --pairs 10 --likes 4000]`: what a limit costs. Likes a second of a server that keeps its limits in Redis
 * and of one that has none, in turn; and places a second of a log in Redis as a string, a sorted set and a list, with the
 * bytes that one takes. Figures are medians. The goal is that the check takes a tenth of a like at most.
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
/** As many places as for likes, in a window that lets all in and fills logs half. */
const LIMIT = "100/1h";
const KEYS = 2_000;
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

/** Fills each log, then takes places of which half the windows are over. */
async function measureLog({ name, take }: Candidate): Promise<Record<string, number>> {
  await client.flushall();
  const rule = ruleOf({ most: 100, window: 3_600_000 });
  const call = (key: number, most: number) =>
    client.evalsha(take.sha, 1, `log:{t000}:${key}`, rule.window, rule.slot, most, 1);
  await client.script("LOAD", take.lua);
  const each = async (times: number, most: number) => {
    let next = 0;
    const begin = performance.now();
    await Promise.all(
      Array.from({ length: AT_ONCE }, async () => {
        while (next < times) await call(next++ % KEYS, most);
      }),
    );
    return (times / (performance.now() - begin)) * 1_000;
  };
  const taken = await each(KEYS * 100, 100);
  const refused = await each(KEYS * 25, 100);
  const bytes = Number(await client.memory("USAGE", "log:{t000}:0"));
  await client.flushall();
  return { [`${name}, taken`]: taken, [`${name}, refused`]: refused, [`${name}, bytes of 100`]: bytes };
}

const logs: Record<string, number>[] = [];
for (let round = 0; round < 5; round++) {
  say(`logs, round ${round + 1} of 5`);
  logs.push(
    Object.assign(
      {},
      ...(await CANDIDATES.reduce<Promise<object[]>>(
        async (all, one) => [...(await all), await measureLog(one)],
        Promise.resolve([]),
      )),
    ),
  );
}

const dataset = makeDataset({ users: 2_000, posts: 20_000, following: 5, follows: "even", celebrities: 1, seed: 1 });
const servers: Array<{ server: BenchServer; enabled: string; posts: string[]; perSecond: number[] }> = [];
for (const enabled of ["true", "false"]) {
  const server = await startBenchServer(join(import.meta.dirname, "../bin/tintype.js"), {
    TINTYPE_REDIS_URL: redis.url,
    TINTYPE_REDIS_KEY_PREFIX: `${enabled}:`,
    TINTYPE_FEED_FANOUT_THRESHOLD: String(dataset.threshold),
    TINTYPE_LIMITS_ENABLED: enabled,
    TINTYPE_LIMITS_LIKE: LIMIT,
  });
  stack.defer(() => server.stop());
  say("loading");
  const database = await openBenchDatabase(server.dataDir);
  stack.defer(() => database.close());
  await database.load(dataset.tables);
  const { rows } = await database.client.query<{ id: string }>(
    "SELECT posts.id FROM posts JOIN users ON users.id = user_id WHERE NOT is_private AND published_at IS NOT NULL ORDER BY 1",
  );
  servers.push({ server, enabled, posts: rows.map(({ id }) => id), perSecond: [] as number[] });
}

/** Likes that nobody has given before, so that each writes. */
async function like({ server, posts, perSecond }: (typeof servers)[number], round: number): Promise<void> {
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
