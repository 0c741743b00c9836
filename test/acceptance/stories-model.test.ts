/** A short one of test/faults/stories-model.test.ts: one server, and nobody dies. */
import t from "tap";
import { objectsOf } from "../support/backup.ts";
import { redisService, removeKeys } from "../support/services.ts";
import { type Exploration, exploreStories } from "../support/stories-model/explore.ts";

const seed = Number(process.env.TINTYPE_TEST_SEED ?? Date.now() % 100_000);
const EXPLORATION: Exploration = {
  people: ["ana", "ben", "cleo", "dan"],
  keepers: ["dan"],
  servers: 1,
  workers: 0,
  settings: { TINTYPE_STORIES_LIFETIME: "8s" },
  shortest: 8_000,
  runs: 1,
  roundsEach: 35,
  disturbances: [],
  outlast: true,
  lag: 0,
  objects: async ({ env }) => Object.keys(await objectsOf(env.TINTYPE_DATA_DIR ?? "")),
  seed,
};

t.test("stories from Postgres alone are what a model in memory says", async (t) => {
  const { stories, news, repeats, over } = await exploreStories(t, EXPLORATION);
  t.ok(stories > 2, `${stories} stories`);
  t.ok(news > 0, `${news} new views`);
  t.ok(repeats > 0, `${repeats} that were not`);
  t.ok(over > 0, `${over} stories over at the end`);
});

t.test("so are they with Redis, whatever becomes of what it has", async (t) => {
  const redis = await redisService(t);
  if (!redis) return;
  const { stories, news } = await exploreStories(t, {
    ...EXPLORATION,
    settings: {
      ...EXPLORATION.settings,
      TINTYPE_REDIS_URL: redis.url,
      TINTYPE_REDIS_KEY_PREFIX: redis.prefix,
    },
    disturbances: ["other", "repeat jobs", "cleanup"],
    others: { flush: () => removeKeys(redis) },
    lag: 4_000,
  });
  t.ok(stories > 2, `${stories} stories`);
  t.ok(news > 0, `${news} new views`);
});
