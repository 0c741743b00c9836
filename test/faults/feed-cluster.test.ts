/** The feed on a Redis Cluster: the model of feed-model.test.ts, while replicas take over and masters die. */
import t from "tap";
import { explore } from "../support/feed-model/explore.ts";
import { redisCluster } from "../support/redis-cluster.ts";

t.setTimeout(1_200_000);

t.test("on a cluster whose masters change and die a feed is what the model says", async (t) => {
  const cluster = await redisCluster(t);
  if (!cluster) return;
  const happened = { failover: 0, killMaster: 0, flush: 0 };
  const counted = (what: keyof typeof happened) => async () => {
    await cluster[what]();
    happened[what]++;
  };
  const explored = await explore(t, {
    people: ["ana", "ben", "cleo", "dan", "eva", "fay"],
    servers: 2,
    workers: 1,
    settings: { TINTYPE_REDIS_URL: cluster.url, TINTYPE_REDIS_KEY_PREFIX: "tintype-test:" },
    postsEach: 100,
    runs: Number(process.env.TINTYPE_TEST_FEED_RUNS ?? 3),
    roundsEach: 60,
    disturbances: ["other", "kill worker", "other", "other"],
    others: { failover: counted("failover"), killMaster: counted("killMaster"), flush: counted("flush") },
    threshold: 3,
    seed: Number(process.env.TINTYPE_TEST_SEED ?? Date.now() % 100_000),
  });
  t.comment(JSON.stringify({ ...explored, ...happened }));
  t.ok(happened.failover + happened.killMaster > 0, "others became masters");
  t.ok(explored.pages > 100, `${explored.pages} pages`);
  t.ok(explored.posts > 30, `${explored.posts} posts`);
  t.ok(explored.crossings.up > 0, `${explored.crossings.up} authors became pulled ones`);
});
