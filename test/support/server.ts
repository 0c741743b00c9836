import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Client, createClient } from "./client.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
export const EXECUTABLE = join(ROOT, "bin", "tintype.js");

/**
 * tap loads itself into every Node that a test starts, by NODE_OPTIONS: that doubles the start of the CLI, and ends
 * processes of other users, who may not write tap's files. `env` execs, so the pid is the program's own.
 */
const PROGRAM = "env";
const PROGRAM_ARGUMENTS = ["-u", "NODE_OPTIONS", process.execPath];

interface StartOptions {
  cwd?: string;
  uid?: number;
  /** Milliseconds by which its clock is ahead of this machine's. */
  ahead?: number;
}

/** A module that sets the clock of the process that imports it, as far as JavaScript can tell. */
function clockAhead(milliseconds: number): string {
  const source = `const ahead = ${milliseconds};
    globalThis.Date = new Proxy(Date, {
      apply: (real) => new real(real.now() + ahead).toString(),
      construct: (real, given, target) => Reflect.construct(real, given.length > 0 ? given : [real.now() + ahead], target),
      get: (real, name) => name === "now" ? () => real.now() + ahead : Reflect.get(real, name),
    });`;
  return `data:text/javascript,${encodeURIComponent(source)}`;
}

export interface Started {
  /** The process; with the tests' own Node 24, so that its pid is that of the server itself. */
  process: ChildProcess;
  pid: number;
  /** Everything that was printed so far. */
  output(): string;
  /** Resolves with the exit code, or the signal's name. */
  exited: Promise<number | string>;
  /** SIGTERM, then waits for the end. */
  stop(): Promise<number | string>;
  /** SIGKILL to this process alone, then waits for the end. */
  kill(): Promise<void>;
}

export interface Server extends Started {
  /** `http://127.0.0.1:PORT` */
  url: string;
  client: Client;
}

/** Nothing of the surroundings but what a shell needs: a test must not depend on whoever runs it. */
export function cleanEnvironment(extra: Record<string, string> = {}): Record<string, string> {
  const { PATH = "", HOME = "", TMPDIR = "" } = process.env;
  return {
    PATH,
    HOME,
    ...(TMPDIR ? { TMPDIR } : {}),
    // A third less to do at each start, and hundreds are started.
    NODE_COMPILE_CACHE: join(ROOT, "node_modules", ".cache", "compile"),
    TINTYPE_LOG_FORMAT: "json",
    // Tests do more in a minute than people in a day.
    TINTYPE_LIMITS_ENABLED: "false",
    ...extra,
  };
}

/** Runs the CLI in the background. */
export function start(args: readonly string[], env: Record<string, string>, options: StartOptions = {}): Started {
  const clock = options.ahead === undefined ? [] : ["--import", clockAhead(options.ahead)];
  const child = spawn(PROGRAM, [...PROGRAM_ARGUMENTS, ...clock, EXECUTABLE, ...args], {
    env: cleanEnvironment(env),
    cwd: options.cwd ?? tmpdir(),
    stdio: ["ignore", "pipe", "pipe"],
    ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.uid }),
  });
  let printed = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8");
    stream?.on("data", (chunk: string) => {
      printed += chunk;
    });
  }
  const exited = once(child, "exit").then(([code, signal]) => (code ?? signal) as number | string);
  return {
    process: child,
    pid: child.pid ?? 0,
    output: () => printed,
    exited,
    stop: () => {
      child.kill("SIGTERM");
      return exited;
    },
    kill: async () => {
      child.kill("SIGKILL");
      await exited;
    },
  };
}

/** Starts `tintype serve` on a free port and waits until it is ready. */
export async function startServer(env: Record<string, string>, options: StartOptions = {}): Promise<Server> {
  const started = start(["serve", "--port", "0"], env, options);
  try {
    const port = await waitFor(async () => {
      if (started.process.exitCode !== null || started.process.signalCode !== null) {
        throw new Stop(
          `serve ended with ${started.process.exitCode ?? started.process.signalCode}:\n${started.output()}`,
        );
      }
      return /"port":(\d+),.*"msg":"listening"/.exec(started.output())?.[1];
    }, "serve to listen");
    const address = `http://127.0.0.1:${port}`;
    await waitFor(async () => (await fetch(`${address}/readyz`)).ok, "readyz");
    return { ...started, url: address, client: createClient(address) };
  } catch (error) {
    await started.kill();
    throw error;
  }
}

/** Runs a command to its end. */
export async function run(
  args: readonly string[],
  env: Record<string, string>,
  options: { cwd?: string; stdin?: string; uid?: number } = {},
): Promise<{ code: number | string; stdout: string; stderr: string }> {
  const child = spawn(PROGRAM, [...PROGRAM_ARGUMENTS, EXECUTABLE, ...args], {
    env: cleanEnvironment(env),
    cwd: options.cwd ?? tmpdir(),
    stdio: ["pipe", "pipe", "pipe"],
    ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.uid }),
  });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    stdout += chunk;
  });
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
    stderr += chunk;
  });
  child.stdin.on("error", () => undefined);
  child.stdin.end(options.stdin ?? "");
  const [code, signal] = await once(child, "close");
  return { code: code ?? signal, stdout, stderr };
}

/** A folder of the test's own, removed at its end. */
export async function temporaryFolder(
  t: { teardown(work: () => Promise<void>): void },
  prefix = "tintype-test-",
): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), prefix));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Thrown by a condition to end the waiting at once. */
export class Stop extends Error {}

/** Far more than anything here takes: no test is about how fast a busy machine is. */
const PATIENCE_MS = 90_000;

/** Asks again every 25 ms until the condition gives something; an error of it counts as "not yet", but a Stop. */
export async function waitFor<T>(condition: () => Promise<T | undefined | false | null>, what: string): Promise<T> {
  const end = Date.now() + PATIENCE_MS;
  let last: unknown;
  while (Date.now() < end) {
    try {
      const value = await condition();
      if (value !== undefined && value !== false && value !== null) return value;
    } catch (error) {
      if (error instanceof Stop) throw error;
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`waited ${PATIENCE_MS / 1000} s in vain for ${what}${last ? `: ${last}` : ""}`);
}
