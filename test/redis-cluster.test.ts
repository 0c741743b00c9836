import { Cluster } from "ioredis";
import t from "tap";
import { redisCluster } from "./support/redis-cluster.ts";

t.test("a Redis Cluster keeps what it was given through a failover and the death of a master", async (t) => {
  const service = await redisCluster(t);
  if (!service) return;
  const { password } = new URL(service.url);
  const cluster = new Cluster([service.url], { redisOptions: { password } });
  t.teardown(() => cluster.disconnect());
  const keys = Array.from({ length: 50 }, (_, index) => `key${index}`);
  const mastersOf = () => new Set(cluster.nodes("master").map(({ options }) => options.port));
  const held = async () => Promise.all(keys.map((key) => cluster.get(key)));
  for (const key of keys) await cluster.set(key, key);
  const nodes = cluster.nodes("master");
  t.equal(nodes.length, 3);
  for (const node of nodes) t.ok((await node.dbsize()) > 0, "each master has some");
  await Promise.all(nodes.map((node) => node.wait(1, 10_000)));

  const before = mastersOf();
  await service.failover();
  t.same(await held(), keys, "by agreement");
  await service.killMaster();
  t.same(await held(), keys, "by death");
  t.ok(
    [...mastersOf()].some((port) => !before.has(port)),
    "others are masters now",
  );
  await service.flush();
  t.same(
    await held(),
    keys.map(() => null),
  );
});
