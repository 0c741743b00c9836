import { Cluster } from "ioredis";
import { describe } from "../db/database.ts";
import { DependencyError } from "../errors.ts";
import { belongsToCluster, openCluster, openSingle, type RedisClient, untilReady } from "./client.ts";

/** What Redis says of itself, for operators. */
export interface RedisFacts {
  product: "Redis" | "Valkey";
  /** The product's own; of several servers that of the first. */
  version: string;
  /** The oldest version of Redis whose commands one of the servers knows, such as 7.2.4. */
  compatible: string;
  cluster: boolean;
  /** Servers that hold keys. */
  masters: number;
  /** Which keys go when memory is full, as in maxmemory-policy; null where there is no limit. */
  evicts: string | null;
}

/** Milliseconds that `examineRedis` waits for a connection. */
const PATIENCE = 2_000;

export async function inspectRedis(client: RedisClient): Promise<RedisFacts> {
  const servers = client instanceof Cluster ? client.nodes("master") : [client];
  const infos = await Promise.all(servers.map((server) => server.info()));
  const [first = ""] = infos;
  const valkey = field(first, "valkey_version");
  const compatible = infos.map((info) => field(info, "redis_version") ?? "0").toSorted(compareVersions);
  const limited = infos.find((info) => field(info, "maxmemory") !== "0");
  return {
    product: valkey === undefined ? "Redis" : "Valkey",
    version: valkey ?? field(first, "redis_version") ?? "unknown",
    compatible: compatible[0] ?? "0",
    cluster: client instanceof Cluster,
    masters: servers.length,
    evicts: (limited && field(limited, "maxmemory_policy")) ?? null,
  };
}

/** Connects for this alone. @throws DependencyError that says why it does not answer. */
export async function examineRedis(url: string): Promise<RedisFacts & { answered_ms: number }> {
  const single = openSingle(url);
  let client: RedisClient = single;
  let failure: unknown = new Error(`no answer within ${PATIENCE} ms`);
  const remember = (error: Error) => {
    failure = error;
  };
  single.on("error", remember);
  try {
    await untilReady(single, PATIENCE);
    if (single.status !== "ready") throw failure;
    if (await belongsToCluster(single)) {
      client = openCluster(url);
      client.on("error", remember);
      await untilReady(client, PATIENCE);
      if (client.status !== "ready") throw failure;
    }
    const facts = await inspectRedis(client);
    const started = performance.now();
    await client.ping();
    return { ...facts, answered_ms: Math.round(performance.now() - started) };
  } catch (error) {
    throw new DependencyError(describe(error), {
      hint: "Look at TINTYPE_REDIS_URL, and whether that server runs. Until it answers feeds come from Postgres.",
      cause: error,
    });
  } finally {
    single.disconnect();
    client.disconnect();
  }
}

function field(info: string, name: string): string | undefined {
  return new RegExp(`^${name}:([^\\r\\n]*)`, "m").exec(info)?.[1];
}

/** Numbers between dots, compared one by one. */
function compareVersions(a: string, b: string): number {
  return a.localeCompare(b, "en", { numeric: true });
}
