/** One decoder process: how it is started, what it may take, how it is given a file, and how it is ended. */
import { type ChildProcess, type ForkOptions, fork } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { setPriority } from "node:os";
import { extname, join } from "node:path";
import type { Logger } from "pino";
import { PictureError, type Rendered, type RenderRequest } from "./protocol.ts";
import { isReply } from "./replies.ts";

export interface DecoderLimits {
  /** Wall time that one file may take, in milliseconds, the start of its process included. */
  timeoutMs: number;
  /** Memory that a process may hold (resident set, in bytes). Watched on Linux only. */
  maxRssBytes: number;
}

/** The file cost its process: that died of it, took too long or grew too large. */
export class DecoderLostError extends PictureError {}

/** The process ended before it looked at the file, which is then not to blame. */
export class NotAcceptedError extends PictureError {}

/** Native heaps fragment, so a process is replaced after so many files; a start costs 0.2 s. */
export const FILES_PER_PROCESS = 300;
/**
 * A page that is first touched costs some 0.3 µs, so between two looks a process may grow by 100 MB at most. A look
 * costs 50 µs of another core.
 */
const LOOK_AT_MEMORY_MS = 25;
/** Requests, and jobs that somebody waits for, come first on the same cores. */
const NICENESS = 10;
/** Both are .ts in a checkout and .js when compiled. */
const CHILD = join(import.meta.dirname, `child${extname(import.meta.filename)}`);
/** Bytes that Node reserves for writing and never touches: 560 MB measured, of a process that has rendered. */
const RESERVED = 768 * 1024 * 1024;
/** What a process may say on stderr before the rest is dropped: libraries complain once a line of a damaged picture. */
const STDERR_CHARACTERS = 8_000;

/**
 * What the kernel holds it to: RLIMIT_DATA, a line that no burst between two looks can pass (an RLIMIT_AS would count
 * the address space that V8 only sets aside); processor time, so that one that spins and whose parent was killed ends
 * some day; no core dumps, which would fill a disk; and where memory runs out, the kernel is to kill this process and
 * not the server. The shell becomes the process.
 */
function limited({ timeoutMs, maxRssBytes }: DecoderLimits): ForkOptions {
  const kilobytes = Math.ceil((maxRssBytes + RESERVED) / 1024);
  // More than it can use before it is replaced.
  const seconds = Math.ceil((2 * FILES_PER_PROCESS * timeoutMs) / 1000);
  const limits = `ulimit -d ${kilobytes}; ulimit -t ${seconds}; ulimit -c 0; echo 1000 > /proc/self/oom_score_adj`;
  return { execPath: "/bin/sh", execArgv: ["-c", `{ ${limits}; } 2>/dev/null; exec "$0" "$@"`, process.execPath] };
}

export function startDecoder(log: Logger, limits: DecoderLimits): ChildProcess {
  const child = fork(CHILD, {
    // Nothing of the server's: no secrets, no debugger's port. Two malloc arenas save 40 % of the memory.
    env: { MALLOC_ARENA_MAX: "2" },
    execArgv: [],
    ...(process.platform === "linux" ? limited(limits) : {}),
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
  let left = STDERR_CHARACTERS;
  // Read to its end, or the process would stand still when the pipe is full.
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    if (left <= 0) return;
    log.warn({ decoder_pid: child.pid, text: text.slice(0, left) }, "a decoder process wrote to stderr");
    left -= text.length;
  });
  child.on("error", (error) => log.error({ err: error, decoder_pid: child.pid }, "a decoder process failed"));
  if (child.pid !== undefined) {
    try {
      setPriority(child.pid, NICENESS);
    } catch (error) {
      log.debug({ err: error, decoder_pid: child.pid }, "a decoder process keeps its priority");
    }
  }
  return child;
}

export function isUsable(child: ChildProcess): boolean {
  return child.connected && !child.killed && isRunning(child);
}

function isRunning(child: ChildProcess): boolean {
  return child.pid !== undefined && child.exitCode === null && child.signalCode === null;
}

export async function endDecoder(child: ChildProcess): Promise<void> {
  if (!isRunning(child)) return;
  child.kill("SIGKILL");
  await once(child, "exit");
}

/**
 * One file in one child. When it must be stopped, this settles only after the child is gone.
 * @param onAccepted called when the decoder begins, with what stops it for the reason that is given.
 */
export function decodeIn(
  child: ChildProcess,
  request: RenderRequest,
  { timeoutMs, maxRssBytes }: DecoderLimits,
  { signal, onAccepted }: { signal: AbortSignal | undefined; onAccepted: (stop: (reason: unknown) => void) => void },
): Promise<Rendered> {
  const { promise, resolve, reject } = Promise.withResolvers<Rendered>();
  let settled = false;
  let accepted = false;
  let stopped: { reason: unknown } | undefined;

  const stop = (reason: unknown) => {
    // A reading of the memory may come late, when the process is already at another file.
    if (settled) return;
    stopped ??= { reason };
    child.kill("SIGKILL");
  };
  const lost = (code: "DECODER_CRASHED" | "PICTURE_TIMEOUT", detail: string) =>
    accepted ? new DecoderLostError(code, detail) : new NotAcceptedError(code, detail);
  const onAbort = () => stop(signal?.reason);
  const onReply = (reply: unknown) => {
    // An answer that crossed the kill: the exit follows, and with it the reason.
    if (stopped) return;
    if (!isReply(reply, request)) stop(lost("DECODER_CRASHED", "an answer that is none"));
    else if (reply.outcome === "accepted") {
      accepted = true;
      onAccepted(stop);
    } else if (reply.outcome === "rendered") resolve(reply.rendered);
    else if (reply.outcome === "broken") reject(Object.assign(new Error(reply.detail), { code: reply.code }));
    else if (reply.code === "DECODER_CRASHED") reject(lost(reply.code, reply.detail));
    else reject(new PictureError(reply.code, reply.detail));
  };
  const onExit = (code: number | null, killedBy: NodeJS.Signals | null) => {
    reject(stopped ? stopped.reason : lost("DECODER_CRASHED", `exit ${killedBy ?? code}`));
  };
  // A process that could not be started has no exit.
  const onError = (error: Error) => {
    if (!isRunning(child)) reject(error);
  };

  const timer = setTimeout(() => stop(lost("PICTURE_TIMEOUT", `after ${timeoutMs} ms`)), timeoutMs);
  const memory = setInterval(async () => {
    const rss = await residentBytes(child.pid);
    if (rss > maxRssBytes) stop(lost("DECODER_CRASHED", `${rss} bytes of memory, allowed ${maxRssBytes}`));
  }, LOOK_AT_MEMORY_MS);
  signal?.addEventListener("abort", onAbort, { once: true });
  child.on("message", onReply).on("exit", onExit).on("error", onError);
  child.send(request, (error) => {
    // The channel is broken, so no answer will come: let the exit tell.
    if (error) child.kill("SIGKILL");
  });

  return promise.finally(() => {
    settled = true;
    clearTimeout(timer);
    clearInterval(memory);
    signal?.removeEventListener("abort", onAbort);
    child.off("message", onReply).off("exit", onExit).off("error", onError);
  });
}

/** 0 where it cannot be told: no such process any more, or no /proc. */
async function residentBytes(pid: number | undefined): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
}
