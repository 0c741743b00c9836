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
  const child = await start("server", settings).catch(async (error) => {
    await rm(folder, { recursive: true, force: true });
    throw error;
  });
  child.stdout.resume();
  const ended = once(child, "exit");
  const redis = new Redis(port, "127.0.0.1", { retryStrategy: () => 20, maxRetriesPerRequest: null });
  redis.on("error", () => undefined);
  const stop = async () => {
    redis.disconnect();
    child.kill("SIGTERM");
    await ended;
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
    throw error;
  }
}

/**
 * Runs redis-benchmark on that Redis, in its database 1, which is empty before and after.
 * @param args after those for host, port and database. @returns commands a second. @throws DependencyError
 */
export async function redisBenchmark({ port, url }: BenchRedis, args: readonly string[]): Promise<number> {
  const child = await start("benchmark", ["-h", "127.0.0.1", "-p", String(port), "--dbnum", "1", "--csv", ...args]);
  let printed = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    printed += text;
  });
  await once(child, "close");
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

/** Redis' program, or Valkey's. @throws DependencyError if neither is there. */
async function start(program: "server" | "benchmark", args: readonly string[]) {
  for (const family of ["redis", "valkey"]) {
    const child = spawn(`${family}-${program}`, args, { stdio: ["ignore", "pipe", "ignore"] });
    try {
      await once(child, "spawn");
      return child;
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
    }
  }
  throw new DependencyError(`redis-${program} is not on the PATH, nor valkey-${program}`, {
    hint: "Install Redis 7 or newer with its tools, such as by apt-get install redis-server redis-tools.",
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
