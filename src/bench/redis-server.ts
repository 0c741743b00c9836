import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { DependencyError } from "../errors.ts";

export interface BenchRedis {
  /** `redis://127.0.0.1:PORT` */
  url: string;
  port: number;
  stop(): Promise<void>;
}

/** Milliseconds that a start may take. */
const PATIENCE = 10_000;

/** Starts a Redis of the bench's own, on the loopback address, that writes nothing to disk. @throws DependencyError */
export async function startBenchRedis(): Promise<BenchRedis> {
  const folder = await mkdtemp(join(tmpdir(), "tintype-bench-redis-"));
  const port = await freePort();
  const settings = ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder];
  const child = spawn("redis-server", settings, { stdio: "ignore" });
  const ended = Promise.race([once(child, "exit"), once(child, "error").then(([error]) => Promise.reject(error))]);
  const redis = new Redis(port, "127.0.0.1", { retryStrategy: () => 20, maxRetriesPerRequest: null });
  redis.on("error", () => undefined);
  const stop = async () => {
    redis.disconnect();
    child.kill("SIGTERM");
    await ended.catch(() => undefined);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await Promise.race([
      redis.ping(),
      ended.then(() => Promise.reject(new DependencyError("redis-server ended at once"))),
      sleep(PATIENCE, undefined, { ref: false }).then(() =>
        Promise.reject(new DependencyError("redis-server does not answer")),
      ),
    ]);
    redis.disconnect();
    return { url: `redis://127.0.0.1:${port}`, port, stop };
  } catch (error) {
    await stop();
    throw missing(error, "redis-server");
  }
}

/**
 * Runs redis-benchmark on that Redis, in its database 1, which is empty before and after.
 * @param args after those for host, port and database. @returns commands a second. @throws DependencyError
 */
export async function redisBenchmark({ port, url }: BenchRedis, args: readonly string[]): Promise<number> {
  const child = spawn("redis-benchmark", ["-h", "127.0.0.1", "-p", String(port), "--dbnum", "1", "--csv", ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let printed = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    printed += text;
  });
  await once(child, "close").catch((error) => {
    throw missing(error, "redis-benchmark");
  });
  const redis = new Redis(`${url}/1`);
  try {
    await redis.flushdb();
  } finally {
    redis.disconnect();
  }
  // One line of headings, one of figures: "test","rps","avg_latency_ms",…
  const perSecond = Number(/^"ZADD[^"]*","([\d.]+)"/im.exec(printed)?.[1]);
  if (!(perSecond > 0)) throw new DependencyError(`redis-benchmark said nothing that is understood:\n${printed}`);
  return perSecond;
}

function missing(error: unknown, program: string): unknown {
  if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) return error;
  return new DependencyError(`${program} is not on the PATH`, {
    hint: "Install Redis 7 or newer, which brings redis-server and redis-benchmark: apt-get install redis-server redis-tools.",
    cause: error,
  });
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const address = probe.address();
  probe.close();
  await once(probe, "close");
  if (address === null || typeof address === "string") throw new Error("no TCP port");
  return address.port;
}
