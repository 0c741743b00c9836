/** A short one of test/faults/feed-model.test.ts: one server, and nobody dies. */
import t from "tap";
import { type Exploration, explore } from "../support/feed-model/explore.ts";
import { redisService, removeKeys } from "../support/services.ts";

const seed = Number(process.env.TINTYPE_TEST_SEED ?? Date.now() % 100_000);
const EXPLORATION: Exploration = {
  people: ["ana", "ben", "cleo", "dan", "eva"],
  servers: 1,
  workers: 0,
  settings: {},
  postsEach: 20,
  runs: 2,
  roundsEach: 30,
  disturbances: [],
  threshold: 2,
  seed,
};

t.test("feeds from Postgres alone are what a model in memory says", async (t) => {
  const { pages, posts } = await explore(t, { ...EXPLORATION, runs: 1 });
  t.ok(pages > 20, `${pages} pages`);
  t.ok(posts > 2, `${posts} posts`);
});

t.test("so are feeds from timelines in Redis, whatever becomes of those", async (t) => {
  const redis = await redisService(t);
  if (!redis) return;
  const { pages, posts, crossings } = await explore(t, {
    ...EXPLORATION,
    settings: { TINTYPE_REDIS_URL: redis.url, TINTYPE_REDIS_KEY_PREFIX: redis.prefix },
    disturbances: ["other", "repeat jobs"],
    others: { flush: () => removeKeys(redis) },
  });
  t.ok(pages > 30, `${pages} pages`);
  t.ok(posts > 5, `${posts} posts`);
  t.ok(crossings.up > 0, `${crossings.up} authors became pulled ones, and ${crossings.down} were pushed again`);
});
