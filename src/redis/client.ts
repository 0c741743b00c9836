import { Cluster, Redis, type RedisOptions, type Result } from "ioredis";

declare module "ioredis" {
  // They are there, as of every command, but not in its types. `callBuffer` would do, but cannot be pipelined.
  interface RedisCommander<Context> {
    evalBuffer(script: string, keys: number, ...rest: (string | number | Buffer)[]): Result<unknown, Context>;
    evalshaBuffer(sha: string, keys: number, ...rest: (string | number | Buffer)[]): Result<unknown, Context>;
  }
}

/** One server, or a cluster of them. */
export type RedisClient = Redis | Cluster;

/** Milliseconds that one command may take: what hangs longer is as good as down, and there is Postgres to ask. */
export const COMMAND_TIMEOUT = 500;
const CONNECT_TIMEOUT = 1_000;

/**
 * Nothing waits for a connection and nothing is sent twice: whoever asks while there is none is told so at once. A write
 * that was sent again after a reconnect could undo what happened between.
 */
const OPTIONS = {
  commandTimeout: COMMAND_TIMEOUT,
  connectTimeout: CONNECT_TIMEOUT,
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
  retryStrategy: retryDelay,
  connectionName: "tintype",
} satisfies RedisOptions;

/** Begins to connect to one server, and goes on trying by itself. */
export function openSingle(url: string): Redis {
  // Commands of one turn of the event loop go out together: to write each alone took a sixth of a page's time. Not with a
  // cluster, where this would look for a script's key among its other arguments.
  return new Redis(url, { ...OPTIONS, enableAutoPipelining: true });
}

/** The same with all servers of the cluster that this one belongs to. */
export function openCluster(url: string): Cluster {
  return new Cluster([url], {
    redisOptions: { ...OPTIONS, ...credentialsOf(url) },
    enableOfflineQueue: false,
    clusterRetryStrategy: retryDelay,
    slotsRefreshInterval: 5_000,
    slotsRefreshTimeout: CONNECT_TIMEOUT,
  });
}

/** Whether what was opened as one server belongs to a cluster. */
export async function belongsToCluster(client: RedisClient): Promise<boolean> {
  return !(client instanceof Cluster) && /^cluster_enabled:1/m.test(await client.info("cluster"));
}

/**
 * Names the processes that hold the keys. Another name means that some of them began anew, perhaps with what they had
 * saved long ago, or that replicas took over, which may lack the last writes.
 */
export async function identityOf(client: RedisClient): Promise<string> {
  const masters = client instanceof Cluster ? client.nodes("master") : [client];
  const runIds = await Promise.all(masters.map(async (one) => /^run_id:(\w+)/m.exec(await one.info("server"))?.[1]));
  if (client instanceof Cluster) await requireAllOwners(masters);
  if (masters.length === 0 || runIds.includes(undefined)) throw new Error("Redis does not say which process it is");
  return runIds.sort().join(" ");
}

/** A cluster of which some masters cannot be reached is not another one: it is not known. @throws then. */
async function requireAllOwners(masters: readonly Redis[]): Promise<void> {
  const slots = (await masters[0]?.cluster("SLOTS")) as [number, number, [string, number]][] | undefined;
  const owners = new Set(slots?.map(([, , [host, port]]) => `${host}:${port}`));
  if (owners.size !== masters.length) throw new Error(`${masters.length} of ${owners.size} masters are connected`);
}

/** Waits until it is connected, or `timeout` ms. */
export async function untilReady(client: RedisClient, timeout: number): Promise<void> {
  if (client.status === "ready") return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, timeout);
  client.once("ready", resolve);
  await promise;
  clearTimeout(timer);
  client.off("ready", resolve);
}

function retryDelay(times: number): number {
  return Math.min(50 * 2 ** times, 1_000);
}

/** Nodes of a cluster are told of by address alone; all of them take the same user and password. */
function credentialsOf(url: string) {
  const { username, password, protocol } = new URL(url);
  return {
    ...(username && { username: decodeURIComponent(username) }),
    ...(password && { password: decodeURIComponent(password) }),
    ...(protocol === "rediss:" && { tls: {} }),
  };
}
