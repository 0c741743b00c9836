/**
 * The feed against a model in memory that knows the contract alone: three servers and two workers, which are killed, a
 * Redis that loses everything, people who do what they like at once. At every moment no page shows what its viewer may
 * not see, or anything twice; and once the jobs are done each viewer's whole feed is the model's.
 *
 * TINTYPE_TEST_FEED_RUNS plays longer, TINTYPE_TEST_SEED the same rounds again.
 */
import { Redis } from "ioredis";
import t from "tap";
import { type Exploration, explore } from "../support/feed-model/explore.ts";
import { redisService } from "../support/services.ts";

// Processes are killed and started again all the time.
t.setTimeout(3_600_000);

const seed = Number(process.env.TINTYPE_TEST_SEED ?? Date.now() % 100_000);
const runs = Number(process.env.TINTYPE_TEST_FEED_RUNS ?? 6);

const EXPLORATION: Exploration = {
  people: ["ana", "ben", "cleo", "dan", "eva", "fay"],
  servers: 3,
  workers: 2,
  settings: {},
  // Who follows all of them has more than a timeline holds.
  postsEach: 100,
  runs,
  roundsEach: 60,
  disturbances: ["kill server", "kill worker", "repeat jobs", "suspend", "unsuspend"],
  threshold: 3,
  seed,
};

t.test("whatever happens, a feed is what the model says", async (t) => {
  const service = await redisService(t, { own: true });
  if (!service) return;
  const redis = new Redis(service.url);
  t.teardown(() => redis.disconnect());
  const explored = await explore(t, {
    ...EXPLORATION,
    settings: { TINTYPE_REDIS_URL: service.url, TINTYPE_REDIS_KEY_PREFIX: service.prefix },
    disturbances: [...EXPLORATION.disturbances, "rebuild", "other", "other"],
    others: { FLUSHALL: () => redis.flushall() },
  });
  t.comment(JSON.stringify(explored));
  t.ok(explored.pages > 100 * runs, `${explored.pages} pages`);
  t.ok(explored.posts > 10 * runs, `${explored.posts} posts`);
  t.ok(explored.crossings.up > 0, `${explored.crossings.up} authors became pulled ones`);
  t.ok(explored.crossings.down > 0, `${explored.crossings.down} were pushed again`);
});

t.test("without Redis too", async (t) => {
  const explored = await explore(t, { ...EXPLORATION, runs: Math.ceil(runs / 3) });
  t.comment(JSON.stringify(explored));
  t.ok(explored.pages > 30 * runs, `${explored.pages} pages`);
});
