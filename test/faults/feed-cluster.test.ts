/** The feed on a Redis Cluster: the model of feed-model.test.ts, while replicas take over and masters die. */
import t, { type Test } from "tap";
import type { Json } from "../support/client.ts";
import { explore } from "../support/feed-model/explore.ts";
import { startWorld } from "../support/feed-model/world.ts";
import { redisCluster } from "../support/redis-cluster.ts";
import { waitFor } from "../support/server.ts";

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

t.test("a replica that takes over without having heard of an unfollow shows nobody what was", async (t) => {
  const cluster = await redisCluster(t);
  if (!cluster) return;
  const { ask, model, sql, servers } = await startWorld(t, {
    people: ["ana", "ben"],
    servers: 3,
    workers: 1,
    settings: { TINTYPE_REDIS_URL: cluster.url, TINTYPE_REDIS_KEY_PREFIX: "tintype-test:" },
    postsEach: 20,
  });
  const { rows } = await sql.query("SELECT id FROM users WHERE username = 'ana'");
  const read = async (server: number) => {
    const answer = await ask("ana", server, "GET", "/feed?limit=100");
    if (answer?.status !== 200) throw new Error(`${answer?.status} ${answer?.bytes}`);
    return { degraded: answer.body.degraded, ids: String(answer.body.items.map(({ id }: Json) => id)) };
  };
  const expected = () => String(model.feedOf("ana").map(({ id }) => id));
  const assertRecovered = async (t: Test) => {
    for (const server of servers.keys()) {
      await waitFor(async () => !(await read(server)).degraded, "a feed from Redis");
      t.equal((await read(server)).ids, expected());
    }
  };
  await assertRecovered(t);
  for (const change of ["follow", "unfollow", "follow", "unfollow"] as const) {
    let lost = false;
    const losing = cluster.lose(`*timeline*${rows[0].id}`, async () => {
      await ask("ana", 0, change === "follow" ? "POST" : "DELETE", "/users/ben/follow");
      model.perform({ who: "ana", change, whom: "ben" });
      lost = true;
    });
    const ended = losing.then(() => true);
    let [pages, wrong] = [0, 0];
    for (let over: boolean | undefined; !over; over = await Promise.race([ended, Promise.resolve(undefined)])) {
      if (!lost) {
        await new Promise((resolve) => setTimeout(resolve, 5));
        continue;
      }
      const seen = await Promise.all(servers.map((_, server) => read(server)));
      pages += seen.length;
      wrong += seen.filter(({ ids }) => ids !== expected()).length;
    }
    await losing;
    t.equal(wrong, 0, `of ${pages} pages after ${change}`);
    await assertRecovered(t);
  }
});
