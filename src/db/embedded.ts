import { realpath } from "node:fs/promises";
import { resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import { ConfigError, DependencyError } from "../errors.ts";
import { findPackage, type PostgresPackage, usableBinaries } from "./embedded/binaries.ts";
import {
  type Cluster,
  clusterMajor,
  DATABASE,
  layout,
  openCluster,
  PORT,
  socketDirectory,
  USER,
} from "./embedded/cluster.ts";
import {
  isPostmaster,
  type Launch,
  launch,
  logTail,
  readPostmasterPid,
  removeOldLogs,
  stopPostmaster,
} from "./embedded/postmaster.ts";
import { joinServer, type Presence } from "./embedded/presence.ts";

/** A running embedded Postgres, shared by every tintype process on the same data dir. */
export interface EmbeddedPostgres {
  /** How to connect: the folder of its socket as host. Usable as fields of pg.PoolConfig. */
  readonly connection: { host: string; port: number; user: string; password: string; database: string; ssl: false };
  /** "started" when this process started the server, "adopted" when it was running already. */
  readonly how: "started" | "adopted";
  /** The server's process id. */
  readonly pid: number;
  /**
   * Ends this process' presence, and the server if no other tintype process is on it: close pools before. Returns
   * whether the server was stopped.
   */
  close(): Promise<{ stopped: boolean }>;
}

/** Recovery after a power cut replays at most some gigabytes; a server that needs longer goes on by itself. */
const START_LIMIT_MS = 120_000;

/** How Postgres says that another one is on the data directory, or that the rests of a killed one are just going. */
const CONTENDED = /lock file .* already exists|pre-existing shared memory block/;

/** The default data dir: ./tintype-data, or /var/lib/tintype as root, whose Postgres could not enter /root. */
export function defaultDataDir(): string {
  return process.getuid?.() === 0 ? "/var/lib/tintype" : "./tintype-data";
}

/**
 * Finds the Postgres of a data dir running or starts it, and makes the data dir and its cluster where they are missing.
 * @param options.role only one process may be "serve".
 * @param options.onLost called once when the server goes away before `close`.
 * @param options.source the Postgres to run; by default npm's package for this platform.
 * @throws ConfigError when the data dir cannot be used, or another `serve` is on it; DependencyError when the server
 *   does not start.
 */
export async function openEmbeddedPostgres(options: {
  dataDir: string;
  role: "serve" | "command";
  log: Logger;
  onLost?: (error: Error) => void;
  source?: PostgresPackage;
}): Promise<EmbeddedPostgres> {
  const source = options.source ?? (await findPackage());
  const cluster = await openCluster({
    dataDir: resolve(options.dataDir),
    major: source.major,
    binaries: (dataDir, account) => usableBinaries(source, dataDir, account),
  });
  const socket = await socketDirectory(cluster);
  const { presence, pid, how } = await reach(cluster, socket, source, options);
  options.log.info(
    { postgres_pid: pid, data_dir: cluster.dataDir },
    how === "started" ? "embedded Postgres started" : "embedded Postgres found running",
  );

  const close = async () => {
    if (!(await presence.leave())) return { stopped: false };
    const stopped = await stopPostmaster(pid, cluster.data);
    await presence.end();
    if (stopped) options.log.info({ postgres_pid: pid }, "embedded Postgres stopped");
    else options.log.warn({ postgres_pid: pid }, "embedded Postgres did not stop when told to, and was left");
    return { stopped };
  };
  let closing: Promise<{ stopped: boolean }> | undefined;
  const postgres: EmbeddedPostgres = {
    connection: { ...connectionTo(cluster, socket), database: DATABASE },
    how,
    pid,
    close: () => {
      closing ??= close();
      return closing;
    },
  };
  try {
    if (options.role === "serve") await presence.claimServe(cluster.dataDir);
    await presence.ensureDatabase(DATABASE);
  } catch (error) {
    await postgres.close();
    throw error;
  }
  return postgres;
}

/**
 * Joins the server, whatever state it is in: running, starting, stopping, killed, never started. The socket decides
 * whether there is one; who starts it, when several do, is settled by Postgres' own lock on its data directory.
 */
async function reach(
  cluster: Cluster,
  socket: string,
  source: PostgresPackage,
  options: { role: "serve" | "command"; onLost?: (error: Error) => void },
): Promise<{ presence: Presence; pid: number; how: "started" | "adopted" }> {
  let started: Launch | undefined;
  for (const deadline = Date.now() + START_LIMIT_MS; Date.now() < deadline; await delay(50)) {
    const presence = await joinServer(connectionTo(cluster, socket), options).catch((error: Error) =>
      stateOf(error, cluster),
    );
    if (presence === "busy") continue;
    const pid = await readPostmasterPid(cluster.data);
    if (presence !== "absent") {
      if (pid !== null) return { presence, pid, how: pid === started?.pid ? "started" : "adopted" };
      await presence.end(); // Somebody removed the file, at which Postgres stops by itself.
      continue;
    }
    if (started?.running()) continue; // it is starting
    if (pid !== null && (await isPostmaster(pid, cluster.data))) continue; // another process' is
    const failure = started?.failure() ?? null;
    if (failure !== null && !CONTENDED.test(failure)) throw await startFailure(cluster, failure);
    const binaries = await usableBinaries(source, cluster.dataDir, cluster.account);
    await removeOldLogs(cluster);
    started = launch(cluster, binaries, socket, pid);
  }
  throw await startFailure(cluster, `it did not answer within ${START_LIMIT_MS / 1000} s`);
}

/** pg's words, without a code, for a connection that broke while it was waited on, and for one that broke just before. */
const CUT_OFF = /terminated|not queryable/;

/** What a failed connection says of the server. @throws DependencyError or ConfigError when trying again is no use. */
function stateOf(error: unknown, cluster: Cluster): "absent" | "busy" {
  const { code = "", message } = error as NodeJS.ErrnoException;
  if (code === "ENOENT" || code === "ECONNREFUSED") return "absent";
  // Starting, recovering or stopping (57P0x), or cut off in the middle of it.
  if (code.startsWith("57P0") || code === "ECONNRESET" || code === "EPIPE" || CUT_OFF.test(message)) return "busy";
  if (code === "28P01") {
    throw new ConfigError(`the embedded Postgres refuses the password in ${layout(cluster.dataDir).password}`, {
      hint: "The file was changed, or is another cluster's: put the right one back.",
      cause: error,
    });
  }
  throw new DependencyError(`the embedded Postgres does not let tintype in: ${message}`, {
    hint: `Its log is in ${cluster.log}.`,
    cause: error,
  });
}

async function startFailure(cluster: Cluster, reason: string): Promise<DependencyError> {
  return new DependencyError(`the embedded Postgres does not start:\n${reason}\n${await logTail(cluster)}`.trimEnd(), {
    hint: `Mend what it names and start again; its whole log is in ${cluster.log}.`,
  });
}

function connectionTo(cluster: Cluster, socket: string) {
  // ssl is said in so many words, since pg would otherwise follow PGSSLMODE.
  return { host: socket, port: PORT, user: USER, password: cluster.password, ssl: false as const };
}

/** Where the Postgres of a data dir stands, without starting it. @throws ConfigError when it is another user's. */
export async function inspectEmbeddedPostgres(
  dataDir: string,
): Promise<{ initialized: boolean; running: boolean; pid: number | null; major: number | null }> {
  const major = await clusterMajor(resolve(dataDir));
  if (major === null) return { initialized: false, running: false, pid: null, major };
  const data = await realpath(layout(resolve(dataDir)).data);
  const pid = await readPostmasterPid(data);
  const running = pid !== null && (await isPostmaster(pid, data));
  return { initialized: true, running, pid: running ? pid : null, major };
}
