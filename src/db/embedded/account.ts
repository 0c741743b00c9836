import { execFile } from "node:child_process";
import { realpath, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { ConfigError } from "../../errors.ts";

/** The account that Postgres runs as, in the shape of child_process' options; `{}` is this process' own. */
export type Account = { readonly uid: number; readonly gid: number } | Record<string, never>;

/** "nobody": Postgres refuses to run as root, and this account exists on every system without being made. */
const NOBODY = { uid: 65534, gid: 65534 };

/** Nothing is inherited: PGDATA, PGOPTIONS, LC_ALL and the like of the caller would change what the server does. */
const ENVIRONMENT = { PATH: "/usr/local/bin:/usr/bin:/bin", LC_ALL: "C", TZ: "UTC" };

/** The spawn options of whatever runs as the account. The folder is one that every account can enter. */
export function spawnOptions(account: Account) {
  return { ...account, cwd: "/", env: ENVIRONMENT };
}

/**
 * The account for the cluster in `directory`, which need not be there yet. Root takes its owner's: a command under sudo
 * must not take a plain user's cluster away from them.
 * @throws ConfigError when the cluster is somebody else's.
 */
export async function accountOf(directory: string): Promise<Account> {
  const uid = process.getuid?.();
  const owner = await stat(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return null;
    throw error;
  });
  if (uid === 0) {
    if (owner?.uid !== 0) return owner ? { uid: owner.uid, gid: owner.gid } : NOBODY;
    throw new ConfigError(`${directory} belongs to root, and Postgres does not run as root`, {
      hint: `Run: chown -R ${NOBODY.uid}:${NOBODY.gid} ${directory}`,
    });
  }
  if (owner && owner.uid !== uid) {
    throw new ConfigError(`${directory} belongs to user id ${owner.uid}, this process runs as ${uid}`, {
      hint: "Run tintype as that user or as root, or choose another data dir.",
    });
  }
  return {};
}

/** Runs a program to its end. @throws only when it cannot be started. */
export function run(account: Account, file: string, args: readonly string[]): Promise<{ ok: boolean; output: string }> {
  return new Promise((resolve, reject) => {
    execFile(file, args, spawnOptions(account), (error, stdout, stderr) => {
      // A numeric code is the program's exit status, a string the system's reason for not running it.
      if (error && typeof error.code === "string") reject(error);
      else resolve({ ok: error === null, output: `${stdout}${stderr}`.trim() });
    });
  });
}

/**
 * The outermost folder on the way to `directory` (itself included) that the account cannot enter; null when it reaches
 * it. Tried by a process of that account: modes alone do not tell (ACLs, mounts, security modules).
 */
export async function firstUnreachable(account: Account, directory: string): Promise<string | null> {
  const way = [await realpath(directory)];
  for (let [outermost = "/"] = way; outermost !== dirname(outermost); [outermost = "/"] = way) {
    way.unshift(dirname(outermost));
  }
  const script = 'for d; do if [ -d "$d" ] && [ ! -x "$d" ]; then printf %s "$d"; exit 1; fi; done';
  const { ok, output } = await run(account, "/bin/sh", ["-c", script, "sh", ...way]).catch((error: unknown) => {
    throw new ConfigError(`cannot start a process as user id ${account.uid}: ${String(error)}`, {
      hint: "Run tintype as a plain user, or with the capabilities SETUID, SETGID and CHOWN, or set TINTYPE_DATABASE_URL.",
      cause: error,
    });
  });
  return ok ? null : output;
}
