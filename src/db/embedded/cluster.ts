import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { chown, lstat, mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { makeDataDir } from "../../data-dir.ts";
import { ConfigError, DependencyError } from "../../errors.ts";
import { type Account, accountOf, firstUnreachable, run } from "./account.ts";
import { buildOnce } from "./build-once.ts";

/** The superuser, and the database that holds the application's tables. */
export const USER = "tintype";
export const DATABASE = "tintype";
export const PORT = 5432;

/** The bytes of a socket's address: 104 on macOS, 108 on Linux, with the end mark and the name of the lock beside it. */
const MAX_SOCKET_PATH = 100;

/** A database cluster on disk, initialized. */
export interface Cluster {
  /** Absolute and without links, hence the same for every process. */
  readonly dataDir: string;
  /** Postgres' own data directory. */
  readonly data: string;
  readonly log: string;
  readonly password: string;
  readonly account: Account;
}

/** Where things lie below a data dir: one folder that its Postgres owns and nobody else enters. */
export function layout(dataDir: string) {
  const root = join(dataDir, "postgres");
  return { root, data: join(root, "data"), log: join(root, "log"), password: join(root, "password") };
}

/** The major that made the cluster, null where there is none. */
export async function clusterMajor(dataDir: string): Promise<number | null> {
  try {
    return Number.parseInt(await readFile(join(layout(dataDir).data, "PG_VERSION"), "utf8"), 10);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw readable(error, dataDir);
  }
}

/**
 * Opens the cluster of a data dir, and makes both where they are missing.
 * @param binaries the folder of initdb, asked for only when it is needed.
 * @throws ConfigError when the data dir cannot be used.
 */
export async function openCluster(options: {
  /** Absolute. */
  dataDir: string;
  major: number;
  binaries: (dataDir: string, account: Account) => Promise<string>;
}): Promise<Cluster> {
  const account = await accountOf(layout(options.dataDir).root).catch((error: unknown) => {
    throw readable(error, options.dataDir);
  });
  await assertReachable(account, options.dataDir);
  const dataDir = await makeDataDir(options.dataDir);
  const paths = layout(dataDir);
  if ((await clusterMajor(dataDir)) === null) {
    const binaries = await options.binaries(dataDir, account);
    await buildOnce(paths.root, (directory) => initialize(directory, binaries, account));
  }
  const major = await clusterMajor(dataDir);
  if (major === null) {
    throw new ConfigError(`${paths.root} is there, but holds no database`, {
      hint: `If nothing in it is needed, remove it: rm -r ${paths.root}`,
    });
  }
  if (major !== options.major) {
    throw new ConfigError(
      `the database in ${dataDir} was made by Postgres ${major}, this tintype brings ${options.major}`,
      {
        hint: "With the tintype that made it run `tintype backup`, then with this one `tintype restore` into an empty data dir.",
      },
    );
  }
  const password = await readFile(paths.password, "utf8").catch((error: unknown) => {
    throw readable(error, dataDir);
  });
  return { dataDir, data: paths.data, log: paths.log, password: password.trim(), account };
}

/** The folder for the socket: the cluster's own where its path is short enough, else one below /tmp. */
export async function socketDirectory(cluster: Cluster): Promise<string> {
  const { root } = layout(cluster.dataDir);
  if (Buffer.byteLength(join(root, `.s.PGSQL.${PORT}`)) < MAX_SOCKET_PATH) return root;
  const hash = createHash("sha256").update(cluster.dataDir).digest("hex").slice(0, 16);
  const directory = `/tmp/tintype-${hash}`;
  if (!existsSync(directory)) await buildOnce(directory, (built) => give(built, cluster.account));
  // Everybody writes to /tmp: a folder that another user made there beforehand must not be trusted.
  const found = await lstat(directory);
  const owner = cluster.account.uid ?? process.getuid?.();
  if (!found.isDirectory() || found.uid !== owner || (found.mode & 0o077) !== 0) {
    throw new ConfigError(`${directory} is not a private folder of user id ${owner}`, {
      hint: "Remove it, or choose a data dir with a shorter path.",
    });
  }
  return directory;
}

async function assertReachable(account: Account, dataDir: string): Promise<void> {
  let existing = dataDir;
  while (!existsSync(existing)) existing = dirname(existing);
  const closed = await firstUnreachable(account, existing);
  if (closed === null) return;
  throw new ConfigError(
    `Postgres cannot reach the data dir ${dataDir}: it runs as user id ${account.uid}, which may not enter ${closed}`,
    {
      hint: `Run: chmod o+x ${closed} — or set TINTYPE_DATA_DIR to a folder below which every user may enter.`,
    },
  );
}

async function initialize(directory: string, binaries: string, account: Account): Promise<void> {
  await give(directory, account);
  const password = join(directory, "password");
  await writeFile(password, randomBytes(24).toString("base64url"), { mode: 0o600 });
  await give(password, account);
  await mkdir(join(directory, "log"), { mode: 0o700 });
  await give(join(directory, "log"), account);
  const { ok, output } = await run(account, join(binaries, "initdb"), [
    `--pgdata=${join(directory, "data")}`,
    `--username=${USER}`,
    `--pwfile=${password}`,
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    // The same order of text on every system, whatever C library it has.
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--no-instructions",
    "--set=max_connections=100",
  ]);
  if (!ok) {
    throw new DependencyError(`the embedded Postgres could not be initialized:\n${lastLines(output, 15)}`, {
      hint: "Mend what it names and start again: nothing was left behind.",
    });
  }
}

async function give(path: string, account: Account): Promise<void> {
  if (account.uid !== undefined) await chown(path, account.uid, account.gid);
}

export function lastLines(text: string, count: number): string {
  return text.trimEnd().split("\n").slice(-count).join("\n");
}

/** Says what a refused access means: the folder is another user's. */
function readable(error: unknown, dataDir: string): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (code !== "EACCES" && code !== "EPERM") return error;
  return new ConfigError(`the database in ${dataDir} belongs to another user`, {
    hint: "Run tintype as the user that made it or as root, or choose another data dir.",
    cause: error,
  });
}
