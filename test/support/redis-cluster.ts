import { randomBytes } from "node:crypto";
import { Redis } from "ioredis";
import { Stop, waitFor } from "./server.ts";
import { Instance } from "./services/instance.ts";
import { redisNode } from "./services/redis-node.ts";

interface Test {
  teardown(end: () => unknown): void;
  pass(message: string, options: { skip: true }): unknown;
}

/** A Redis Cluster of this test's own: three masters, each with a replica, on 127.0.0.1. */
export interface RedisCluster {
  /** Of one node: `redis://:PASSWORD@127.0.0.1:PORT` */
  url: string;
  /** The replica of the first master takes its place by agreement. Resolves when every node knows. */
  failover(): Promise<void>;
  /** SIGKILL to the first master. Resolves when its replica has taken over, and it is back as the replica of that. */
  killMaster(): Promise<void>;
  /**
   * Loses what `work` writes where there are keys of this pattern: its master acknowledges it, but its replica does not hear
   * of it, and takes over when the master is killed. Then as above.
   */
  lose(pattern: string, work: () => Promise<void>): Promise<void>;
  /** FLUSHALL on every master. */
  flush(): Promise<void>;
}

interface Node {
  instance: Instance;
  redis: Redis;
}

const MASTERS = 3;
const SLOTS = 16_384;

/**
 * Starts a cluster, in some 4 s.
 * @returns undefined if there is no redis-server; the test is then skipped, and has nothing to do but return.
 * @throws instead, with CI=true.
 */
export async function redisCluster(t: Test): Promise<RedisCluster | undefined> {
  const service = redisNode(randomBytes(16).toString("hex"));
  const program = await service.find();
  if (!program) {
    const message = "redis is not installed: npm run services -- install redis";
    if (process.env.CI === "true") throw new Error(message);
    t.pass(message, { skip: true });
    return undefined;
  }
  const nodes: Node[] = [];
  t.teardown(async () => {
    for (const { redis } of nodes) redis.disconnect();
    await Promise.all(nodes.map(({ instance }) => instance.stop()));
  });
  for (let node = 0; node < 2 * MASTERS; node++) {
    const instance = await Instance.start(service, program);
    const redis = new Redis(service.url(instance.place), { retryStrategy: () => 50, maxRetriesPerRequest: null });
    // It tries again by itself; what asks meanwhile waits.
    redis.on("error", () => undefined);
    nodes.push({ instance, redis });
  }
  await join(nodes);

  const masters = async () => {
    const roles = await Promise.all(nodes.map(roleOf));
    return nodes.filter((_, index) => roles[index] === "master");
  };
  const withReplica = async (master: Node | undefined) => {
    if (!master) throw new Error("there is no such master");
    const id = String(await master.redis.call("CLUSTER", "MYID"));
    const replicas = await Promise.all(nodes.map(async (node) => (await replicationOf(node)) === id));
    const replica = nodes[replicas.indexOf(true)];
    if (!replica) throw new Error("a master has no replica");
    return { master, replica };
  };
  const replaced = async (master: Node, replica: Node) => {
    await waitFor(async () => (await roleOf(replica)) === "master", "a replica to take over");
    await master.instance.restart();
    await settled();
  };
  const settled = () => waitFor(async () => (await Promise.all(nodes.map(isSettled))).every(Boolean), "the cluster");

  return {
    url: service.url((nodes[0] as Node).instance.place),
    async failover() {
      const { replica } = await withReplica((await masters())[0]);
      await replica.redis.call("CLUSTER", "FAILOVER");
      await waitFor(async () => (await roleOf(replica)) === "master", "a replica to take over");
      await settled();
    },
    async killMaster() {
      const { master, replica } = await withReplica((await masters())[0]);
      await master.instance.kill();
      await replaced(master, replica);
    },
    async lose(pattern, work) {
      const all = await masters();
      const found = await Promise.all(all.map(({ redis }) => redis.keys(pattern)));
      const { master, replica } = await withReplica(all[found.findIndex((keys) => keys.length > 0)]);
      replica.instance.pause();
      // Else the replica reads from its socket what was written meanwhile.
      await master.redis.call("CLIENT", "KILL", "TYPE", "replica");
      await work();
      await master.instance.kill();
      replica.instance.resume();
      await replaced(master, replica);
    },
    async flush() {
      await Promise.all((await masters()).map(({ redis }) => redis.flushall()));
    },
  };
}

/** Makes one cluster of nodes that know nothing of each other. */
async function join(nodes: readonly Node[]): Promise<void> {
  const masters = nodes.slice(0, MASTERS);
  for (const [index, { redis }] of masters.entries()) {
    const [from, to] = [index, index + 1].map((part) => Math.ceil((part * SLOTS) / MASTERS)) as [number, number];
    await redis.call("CLUSTER", "ADDSLOTSRANGE", from, to - 1);
    await redis.call("CLUSTER", "SET-CONFIG-EPOCH", index + 1);
  }
  const { redis: first } = nodes[0] as Node;
  for (const { instance, redis } of nodes.slice(1)) {
    const [, busPort] = (await redis.config("GET", "cluster-port")) as string[];
    await first.call("CLUSTER", "MEET", "127.0.0.1", instance.place.port, Number(busPort));
  }
  await waitFor(async () => {
    const known = await Promise.all(nodes.map((node) => infoOf(node, "cluster_known_nodes")));
    return known.every((count) => count === String(nodes.length));
  }, "the nodes to know each other");
  for (const [index, { redis }] of nodes.slice(MASTERS).entries()) {
    const id = String(await masters[index]?.redis.call("CLUSTER", "MYID"));
    // Refused until it has heard of that node as a master.
    await waitFor(async () => (await redis.call("CLUSTER", "REPLICATE", id)) === "OK", "a replica");
  }
  await waitFor(async () => (await Promise.all(nodes.map(isSettled))).every(Boolean), "the cluster");
}

async function infoOf({ redis }: Node, field: string): Promise<string | undefined> {
  const info = String(await redis.call("CLUSTER", "INFO"));
  return new RegExp(`^${field}:(.*?)\\r?$`, "m").exec(info)?.[1];
}

async function roleOf({ redis }: Node): Promise<string> {
  const [role] = (await redis.role()) as [string];
  return role;
}

/** The id of the master that this node is a replica of; "-" for a master. */
async function replicationOf({ redis }: Node): Promise<string | undefined> {
  const nodes = String(await redis.call("CLUSTER", "NODES"));
  const self = nodes.split("\n").find((line) => line.split(" ")[2]?.includes("myself"));
  if (!self) throw new Stop(`a node does not know itself:\n${nodes}`);
  return self.split(" ")[3];
}

/** Whether it sees the cluster whole: all nodes there, half of them masters, and as a replica that it follows its master. */
async function isSettled(node: Node): Promise<boolean> {
  if ((await infoOf(node, "cluster_state")) !== "ok") return false;
  const lines = String(await node.redis.call("CLUSTER", "NODES"))
    .trim()
    .split("\n")
    .map((line) => line.split(" "));
  const isMaster = ([, , flags = ""]: string[]) => flags.includes("master");
  if (lines.some(([, , flags = ""]) => /fail|handshake|noaddr/.test(flags))) return false;
  if (lines.length !== 2 * MASTERS || lines.filter(isMaster).length !== MASTERS) return false;
  // Of each master it must know the slots, and a replica.
  for (const [id, , flags = "", , , , , , slots] of lines) {
    if (flags.includes("master") && (!slots || !lines.some((line) => line[3] === id))) return false;
  }
  return (await roleOf(node)) === "master" || /^master_link_status:up/m.test(await node.redis.info("replication"));
}
