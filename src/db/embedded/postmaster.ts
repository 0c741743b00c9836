import { execFile, spawn } from "node:child_process";
import { readdir, readFile, rm, stat } from "node:fs/promises";
import { Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { spawnOptions } from "./account.ts";
import { type Cluster, lastLines, PORT } from "./cluster.ts";

/** A server that this process has started. */
export interface Launch {
  readonly pid: number | undefined;
  running(): boolean;
  /** What it said, if it ended other than by being stopped in order. */
  failure(): string | null;
}

/**
 * The process id in postmaster.pid; null where no server was started, or the last one was stopped in order. What else the
 * file says (the socket's folder) is not used: in a copy of a data dir it is the original's.
 */
export async function readPostmasterPid(data: string): Promise<number | null> {
  const text = await readFile(join(data, "postmaster.pid"), "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return "";
    throw error;
  });
  return Number.parseInt(text, 10) || null;
}

/**
 * Whether the process of that id is the server of this data directory. After a power cut or kill -9 the id may be
 * somebody else's by now, even that of the Postgres of another data dir.
 */
export async function isPostmaster(pid: number, data: string): Promise<boolean> {
  const command =
    process.platform === "linux"
      ? await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")
      : await promisify(execFile)("ps", ["-ww", "-o", "args=", "-p", String(pid)]).then(
          ({ stdout }) => stdout,
          () => "",
        );
  return command.replaceAll("\0", " ").includes(`/postgres -D ${data} -c `);
}

/**
 * Starts the server, in a session of its own: Ctrl-C and signals to this process' group do not reach it, and it outlives
 * this process. Its parent is this process and not pg_ctl, so that its end is seen at once and leaves no zombie where
 * tintype is process 1 of a container.
 * @param stale the process id in a postmaster.pid that is known to be nobody's. Postgres itself takes an id that is in
 *   use by the same user for a running server, unless it is told that it is its grandparent's: pg_ctl's own way.
 */
export function launch(cluster: Cluster, binaries: string, socketDir: string, stale: number | null): Launch {
  const options = spawnOptions(cluster.account);
  const env = stale === null ? options.env : { ...options.env, PG_GRANDPARENT_PID: String(stale) };
  const server = spawn(join(binaries, "postgres"), ["-D", cluster.data, ...settings(cluster, socketDir)], {
    ...options,
    env,
    detached: true,
    stdio: ["ignore", "ignore", "pipe"],
  });
  let output = "";
  let end: string | null = null;
  // It says only why it cannot start; from then on its own collector writes the log.
  server.stderr.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  server.on("error", (error) => {
    end = String(error);
  });
  server.on("close", (code, signal) => {
    end ??= code === 0 ? "" : `${output}ended with ${signal ?? code}`;
  });
  server.unref();
  // The collector keeps the other end of the pipe open for as long as the server runs.
  if (server.stderr instanceof Socket) server.stderr.unref();
  return { pid: server.pid, running: () => end === null, failure: () => end || null };
}

/** What tintype relies on. What an operator may tune (memory, connections) is left to postgresql.conf. */
function settings(cluster: Cluster, socketDir: string): string[] {
  const values = {
    port: String(PORT),
    listen_addresses: "",
    unix_socket_directories: `"${socketDir.replaceAll('"', '""')}"`,
    unix_socket_permissions: "0700",
    timezone: "UTC",
    log_timezone: "UTC",
    // One file a weekday, emptied when its day comes again.
    logging_collector: "on",
    log_destination: "stderr",
    log_directory: cluster.log,
    log_filename: "postgresql-%a.log",
    log_rotation_age: "1d",
    log_rotation_size: "0",
    log_truncate_on_rotation: "on",
    // Details quote the row that broke a constraint, that is, people's addresses.
    log_error_verbosity: "terse",
  };
  return Object.entries(values).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
}

/** Postgres empties a weekday's file only if it runs at midnight; where it never does, last week's are removed here. */
export async function removeOldLogs(cluster: Cluster): Promise<void> {
  for (const { path, mtimeMs } of await logFiles(cluster)) {
    if (Date.now() - mtimeMs > 6 * 86_400_000) await rm(path, { force: true });
  }
}

/** The last lines of the server's log. */
export async function logTail(cluster: Cluster): Promise<string> {
  const [newest] = (await logFiles(cluster)).sort((a, b) => b.mtimeMs - a.mtimeMs);
  return newest ? lastLines(await readFile(newest.path, "utf8"), 10) : "";
}

async function logFiles(cluster: Cluster): Promise<Array<{ path: string; mtimeMs: number }>> {
  const paths = (await readdir(cluster.log)).map((name) => join(cluster.log, name));
  return Promise.all(paths.map(async (path) => ({ path, mtimeMs: (await stat(path)).mtimeMs })));
}

/**
 * Ends the server as `pg_ctl stop --mode=fast` does: sessions are cut, what was committed is on disk. Not by pg_ctl, as
 * who only found the server running has no need of usable binaries.
 * @returns false when it is not ours to end or has not ended within a minute.
 */
export async function stopPostmaster(pid: number, data: string): Promise<boolean> {
  if (!(await isPostmaster(pid, data))) return false;
  process.kill(pid, "SIGINT");
  for (const deadline = Date.now() + 60_000; Date.now() < deadline; await delay(20)) {
    if ((await readPostmasterPid(data)) !== pid) return true;
  }
  return false;
}
