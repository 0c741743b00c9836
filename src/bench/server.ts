import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { OperationError } from "../errors.ts";

export interface BenchServer {
  /** `http://127.0.0.1:PORT` */
  url: string;
  pid: number;
  dataDir: string;
  /** What has been logged since the last call, the lines that are whole. */
  log(): Promise<Record<string, unknown>[]>;
  stop(): Promise<void>;
}

/** Milliseconds between two looks into the log of a server that starts. */
const LOOK_EVERY = 25;

/**
 * Starts `tintype serve` on an empty data dir of its own, which goes when it is stopped. It is given nothing of the
 * surrounding environment: a bench must never write into the database that this shell is configured for.
 * @param settings as environment variables
 */
export async function startBenchServer(
  executable: string,
  settings: Readonly<Record<string, string>> = {},
): Promise<BenchServer> {
  const folder = await mkdtemp(join(tmpdir(), "tintype-bench-"));
  // As root the embedded Postgres runs as another user, who must get through to its part of the data dir.
  await chmod(folder, 0o711);
  const dataDir = join(folder, "data");
  // It logs into a file, as a service does: reading a line for each request would cost a part of what is measured.
  const log = await open(join(folder, "log"), "a+");
  const child = spawn(process.execPath, [executable, "serve", "--port", "0", "--data-dir", dataDir], {
    cwd: folder,
    // What is measured is how much goes through, unless it is the limits themselves.
    env: { TINTYPE_LIMITS_ENABLED: "false", ...settings, TINTYPE_LOG_FORMAT: "json" },
    stdio: ["ignore", log.fd, log.fd],
  });
  const exited = once(child, "exit");
  const stop = async () => {
    child.kill("SIGTERM");
    await exited;
    await log.close();
    await rm(folder, { recursive: true, force: true });
  };
  const reader = logReader(log);
  try {
    for (;;) {
      const lines = await reader.read();
      const listening = lines.find(({ msg }) => msg === "listening");
      if (listening) return { url: String(listening.public_url), pid: child.pid ?? 0, dataDir, log: reader.read, stop };
      if (child.exitCode !== null || child.signalCode !== null) {
        throw new OperationError(`the server of the bench did not start:\n${reader.tail()}`);
      }
      await sleep(LOOK_EVERY);
    }
  } catch (error) {
    await stop();
    throw error;
  }
}

function logReader(file: Awaited<ReturnType<typeof open>>) {
  const buffer = Buffer.alloc(64 * 1024);
  let [at, rest, tail] = [0, "", ""];
  return {
    /** The end of what has been read. */
    tail: () => tail,
    async read(): Promise<Record<string, unknown>[]> {
      const lines: string[] = [];
      for (;;) {
        const { bytesRead } = await file.read(buffer, 0, buffer.length, at);
        if (bytesRead === 0) break;
        at += bytesRead;
        const text = rest + buffer.toString("latin1", 0, bytesRead);
        tail = (tail + text.slice(rest.length)).slice(-16_384);
        const pieces = text.split("\n");
        rest = pieces.pop() ?? "";
        lines.push(...pieces.filter((line) => line.startsWith("{")));
      }
      return lines.map((line) => JSON.parse(line));
    },
  };
}
