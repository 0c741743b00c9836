import { spawn } from "node:child_process";
import { once } from "node:events";
import { access, constants, readFile } from "node:fs/promises";
import { connect } from "node:net";
import { delimiter, join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";

/** Where servers lie that are not on the PATH of a plain user. */
const SERVER_FOLDERS = ["/usr/local/sbin", "/usr/sbin"];

/** The first program of these names that this user may run; undefined if there is none. */
export async function programOf(...names: readonly string[]): Promise<string | undefined> {
  const folders = [...(process.env.PATH ?? "").split(delimiter).filter(Boolean), ...SERVER_FOLDERS];
  for (const name of names) {
    for (const folder of folders) {
      const path = join(folder, name);
      if (
        await access(path, constants.X_OK).then(
          () => true,
          () => false,
        )
      )
        return path;
    }
  }
  return undefined;
}

/** Runs a program to its end. @returns all that it printed. @throws with it, if the program fails. */
export async function runTool(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  const [out, error, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
  if (code !== 0) throw new Error(`${[program, ...args].join(" ")} ended with ${code}:\n${out}${error}`);
  return `${out}${error}`;
}

/** Long enough for whatever else installs packages at the same time. */
const LOCK_TRIES = 150;

/**
 * Installs packages of Debian and its like, by root.
 * @param otherwise what somebody may do who is not root or has no apt-get.
 */
export async function installPackages(packages: readonly string[], otherwise: string): Promise<void> {
  const apt = await programOf("apt-get");
  if (!apt || process.getuid?.() !== 0) {
    const root = apt ? `as root: apt-get install ${packages.join(" ")}` : otherwise;
    throw new Error(`not on this machine; get it ${root}`);
  }
  const run = async (...args: string[]) => {
    for (let tries = 1; ; tries += 1) {
      try {
        return await runTool(apt, args, { DEBIAN_FRONTEND: "noninteractive", LC_ALL: "C" });
      } catch (error) {
        if (tries === LOCK_TRIES || !/could not get lock|unable to (?:acquire|lock)/i.test(String(error))) throw error;
        await delay(2_000);
      }
    }
  };
  const install = () => run("install", "-y", "-q", "--no-install-recommends", ...packages);
  // The lists of a fresh machine are empty or old; where they are current, asking for new ones takes longer than the rest.
  await install().catch(async () => {
    await run("update", "-q");
    await install();
  });
}

/**
 * What tells a process from a later one with the same id. undefined if there is none, or none but what its parent has not
 * yet taken note of.
 */
export async function identityOf(pid: number): Promise<string | undefined> {
  if (process.platform !== "linux") {
    const told = await runTool("ps", ["-o", "stat=,lstart=", "-p", String(pid)]).catch(() => "");
    const [, state, started] = /^\s*(\S+)\s+(.*\S)/.exec(told) ?? [];
    return state?.startsWith("Z") ? undefined : started;
  }
  const [stat, boot] = await Promise.all([
    readFile(`/proc/${pid}/stat`, "utf8").catch(() => ""),
    readFile("/proc/sys/kernel/random/boot_id", "utf8"),
  ]);
  // The name, in parentheses, may hold anything. Behind it the state is the first field and the start the 20th (proc(5)).
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state, started] = [fields[0], fields[19]];
  return !started || state === "Z" ? undefined : `${boot.trim()} ${started}`;
}

/** Far longer than an answer of a service that is well. */
const ANSWER_MS = 5_000;

/**
 * Says something to a port of 127.0.0.1 and waits until what comes back satisfies `done`, which is asked first when the
 * connection is made; false if it never does.
 */
export function hears(port: number, said: string | Uint8Array, done: (heard: Buffer) => boolean): Promise<boolean> {
  return new Promise((resolve) => {
    let heard = Buffer.alloc(0);
    const socket = connect(port, "127.0.0.1").setTimeout(ANSWER_MS);
    const listen = (chunk: Buffer) => {
      heard = Buffer.concat([heard, chunk]);
      if (!done(heard)) return;
      resolve(true);
      socket.destroy();
    };
    socket.on("connect", () => {
      socket.write(said);
      listen(heard);
    });
    socket.on("data", listen);
    socket.on("timeout", () => socket.destroy());
    socket.on("error", () => undefined);
    socket.on("close", () => resolve(false));
  });
}
