import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OperationError } from "../errors.ts";

export interface BenchServer {
  /** `http://127.0.0.1:PORT` */
  url: string;
  pid: number;
  stop(): Promise<void>;
}

/**
 * Starts `tintype serve` on an empty data dir of its own, which goes when it is stopped. It is given nothing of the
 * surrounding environment: a bench must never write into the database that this shell is configured for.
 */
export async function startBenchServer(executable: string): Promise<BenchServer> {
  const folder = await mkdtemp(join(tmpdir(), "tintype-bench-"));
  // As root the embedded Postgres runs as another user, who must get through to its part of the data dir.
  await chmod(folder, 0o711);
  const child = spawn(process.execPath, [executable, "serve", "--port", "0", "--data-dir", join(folder, "data")], {
    cwd: folder,
    env: { TINTYPE_LOG_FORMAT: "json" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const exited = once(child, "exit");
  const stop = async () => {
    child.kill("SIGTERM");
    await exited;
    await rm(folder, { recursive: true, force: true });
  };
  let output = "";
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (chunk: string) => {
      // Kept short: the server goes on logging for as long as the bench lasts.
      output = (output + chunk).slice(-16_384);
      const url = /"public_url":"(http[^"]+)".*"msg":"listening"/.exec(output)?.[1];
      if (url) resolve(url);
    });
  }
  child.on("exit", () => reject(new OperationError(`the server of the bench did not start:\n${output}`)));
  try {
    const url = await promise;
    return { url, pid: child.pid ?? 0, stop };
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}
