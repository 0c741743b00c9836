/**
 * Stories against a model in memory that knows the contract alone: three servers and two workers, which are killed, cleanups
 * that share the work and are killed, a Redis that loses everything, people who do what they like at once while their
 * stories end. After each round everybody's trays, lists, views and pictures are the model's, and at the end rows and objects.
 *
 * TINTYPE_TEST_STORY_RUNS plays longer, TINTYPE_TEST_SEED the same rounds again.
 */
import { Redis } from "ioredis";
import t from "tap";
import { objectsOf } from "../support/backup.ts";
import { bucketContent, s3Environment } from "../support/bucket.ts";
import { redisService, s3Client, s3Service } from "../support/services.ts";
import { type Exploration, exploreStories } from "../support/stories-model/explore.ts";

// Processes are killed and started again all the time.
t.setTimeout(3_600_000);

const seed = Number(process.env.TINTYPE_TEST_SEED ?? Date.now() % 100_000);
const runs = Number(process.env.TINTYPE_TEST_STORY_RUNS ?? 6);

const EXPLORATION: Exploration = {
  people: ["ana", "ben", "cleo", "dan", "eva"],
  keepers: ["eva"],
  servers: 3,
  workers: 2,
  settings: {},
  // Some end soon, others late enough to be seen when nothing happens any more.
  workerSettings: [{ TINTYPE_STORIES_LIFETIME: "8s" }, { TINTYPE_STORIES_LIFETIME: "60s" }],
  shortest: 8_000,
  runs,
  roundsEach: 50,
  disturbances: ["kill server", "kill worker", "repeat jobs", "cleanup", "kill cleanup"],
  lag: 0,
  objects: async ({ env }) => Object.keys(await objectsOf(env.TINTYPE_DATA_DIR ?? "")),
  seed,
};

t.test("whatever happens, stories are what the model says", async (t) => {
  const service = await redisService(t, { own: true });
  if (!service) return;
  const redis = new Redis(service.url);
  t.teardown(() => redis.disconnect());
  const explored = await exploreStories(t, {
    ...EXPLORATION,
    settings: { TINTYPE_REDIS_URL: service.url, TINTYPE_REDIS_KEY_PREFIX: service.prefix },
    disturbances: [...EXPLORATION.disturbances, "other"],
    others: { FLUSHALL: () => redis.flushall() },
    lag: 4_000,
  });
  t.comment(JSON.stringify(explored));
  t.ok(explored.stories > 10 * runs, `${explored.stories} stories`);
  t.ok(explored.news > 8 * runs, `${explored.news} new views`);
  t.ok(explored.repeats > 20 * runs, `${explored.repeats} that were not`);
  t.ok(explored.cleaned > runs, `${explored.cleaned} stories cleaned up`);
});

t.test("without Redis too, and with pictures on S3", async (t) => {
  const s3 = await s3Service(t);
  if (!s3) return;
  await s3Client(s3).makeBucket(s3.bucket, s3.region);
  const explored = await exploreStories(t, {
    ...EXPLORATION,
    settings: s3Environment(s3),
    objects: async () => Object.keys(await bucketContent(s3)),
    runs: Math.ceil(runs / 3),
  });
  t.comment(JSON.stringify(explored));
  t.ok(explored.news > 2 * runs, `${explored.news} new views`);
  t.ok(explored.cleaned > 0, `${explored.cleaned} stories cleaned up`);
});
