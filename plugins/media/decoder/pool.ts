import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { setPriority } from "node:os";
import { extname, join } from "node:path";
import type { Logger } from "pino";
import { PictureError, type Rendered, type RenderLimits, type RenderReply, type RenderRequest } from "./protocol.ts";

export type DecoderPoolOptions = RenderLimits & {
  /** Files that are decoded at a time, each in a process of its own. */
  size: number;
  /** Wall time that one file may take, in milliseconds, the start of its process included. */
  timeoutMs: number;
  /** Memory that a process may hold (resident set, in bytes). Watched on Linux only. */
  maxRssBytes: number;
  log: Logger;
};

export type RenderOptions = {
  signal?: AbortSignal;
  /** Called when the file's turn has come; the decoder begins when it has resolved, and not at all if it rejects. */
  onStart?: () => Promise<void>;
};

export type DecoderPool = {
  readonly size: number;
  /**
   * Makes the renditions of the file `inputPath` in the directory `outputDir`. Callers are served in the order in
   * which they came. Once this has settled, nothing is written into `outputDir` any more.
   *
   * Throws PictureError; the signal's reason, when that aborts; DecoderClosedError; and plain Error for what is
   * neither the picture's fault nor the decoder's (no such file, a full disk), with the system's `code` if it has one.
   */
  render(inputPath: string, outputDir: string, options?: RenderOptions): Promise<Rendered>;
  /** Refuses new files and those that wait, lets the running ones finish, then ends the processes. */
  close(): Promise<void>;
};

/** The pool was closed before this file's turn came; another process can still render it. */
export class DecoderClosedError extends Error {
  constructor() {
    super("The decoder is closed.");
    this.name = "DecoderClosedError";
  }
}

/** Native heaps fragment, so a process is replaced after so many files; a start costs 0.2 s. */
const FILES_PER_PROCESS = 300;
const RSS_POLL_MS = 100;
/** Requests, and jobs that somebody waits for, come first on the same cores. */
const NICENESS = 10;
/** Both are .ts in a checkout and .js when compiled. */
const CHILD = join(import.meta.dirname, `child${extname(import.meta.filename)}`);

/** A pool of decoder processes. They are started when first needed, and replaced when they crash or are killed. */
export function createDecoderPool(options: DecoderPoolOptions): DecoderPool {
  const { size, log } = options;
  const alive = new Set<ChildProcess>();
  const idle: ChildProcess[] = [];
  const filesOf = new WeakMap<ChildProcess, number>();
  const waiting: { start: () => void; refuse: (reason: unknown) => void }[] = [];
  let taken = 0;
  let closing: Promise<void> | undefined;

  /** Waits for one of `size` places; takes a free one in this very tick. */
  async function takePlace(signal: AbortSignal | undefined): Promise<void> {
    if (taken < size) {
      taken++;
      return;
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const entry = { start: resolve, refuse: reject };
    const leave = () => {
      const at = waiting.indexOf(entry);
      if (at >= 0) waiting.splice(at, 1);
      reject(signal?.reason);
    };
    waiting.push(entry);
    signal?.addEventListener("abort", leave, { once: true });
    try {
      await promise;
    } finally {
      signal?.removeEventListener("abort", leave);
    }
  }

  function givePlace(): void {
    const next = waiting.shift();
    if (next) next.start();
    else taken--;
  }

  function takeProcess(): ChildProcess {
    for (let child = idle.pop(); child; child = idle.pop()) if (isUsable(child)) return child;
    const child = startChild(log);
    alive.add(child);
    child.once("exit", () => alive.delete(child));
    return child;
  }

  async function giveProcess(child: ChildProcess): Promise<void> {
    const files = (filesOf.get(child) ?? 0) + 1;
    filesOf.set(child, files);
    if (isUsable(child) && files < FILES_PER_PROCESS) idle.push(child);
    else await end(child);
  }

  async function renderNow(request: RenderRequest, signal: AbortSignal | undefined): Promise<Rendered> {
    for (;;) {
      const child = takeProcess();
      try {
        return await decodeIn(child, request, options, signal);
      } catch (error) {
        // It had died idle, and this process had not heard of it yet. A new one that does so is broken.
        const diedIdle = error instanceof NotAcceptedError && filesOf.has(child);
        if (!diedIdle) throw error;
      } finally {
        await giveProcess(child);
      }
    }
  }

  return {
    size,
    async render(inputPath, outputDir, { signal, onStart } = {}) {
      if (closing) throw new DecoderClosedError();
      signal?.throwIfAborted();
      await takePlace(signal);
      try {
        await onStart?.();
        signal?.throwIfAborted();
        return await renderNow({ inputPath, outputDir, maxPixels: options.maxPixels }, signal);
      } finally {
        givePlace();
      }
    },
    close() {
      closing ??= (async () => {
        for (const { refuse } of waiting.splice(0)) refuse(new DecoderClosedError());
        // Who holds every place knows that nothing runs, nor will.
        await Promise.all(Array.from({ length: size }, () => takePlace(undefined)));
        await Promise.all([...alive].map(end));
      })();
      return closing;
    },
  };
}

/** The process ended before it looked at the file, which is then not to blame. */
class NotAcceptedError extends PictureError {}

function startChild(log: Logger): ChildProcess {
  const child = fork(CHILD, {
    // Nothing of the server's: no secrets, no debugger's port. Two malloc arenas save 40 % of the memory.
    env: { MALLOC_ARENA_MAX: "2" },
    execArgv: [],
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    log.warn({ decoder_pid: child.pid, text: text.slice(0, 2000) }, "a decoder process wrote to stderr");
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

function isUsable(child: ChildProcess): boolean {
  return child.connected && !child.killed && isRunning(child);
}

function isRunning(child: ChildProcess): boolean {
  return child.pid !== undefined && child.exitCode === null && child.signalCode === null;
}

async function end(child: ChildProcess): Promise<void> {
  if (!isRunning(child)) return;
  child.kill("SIGKILL");
  await once(child, "exit");
}

/** One file in one child. When it must be stopped, this settles only after the child is gone. */
function decodeIn(
  child: ChildProcess,
  request: RenderRequest,
  { timeoutMs, maxRssBytes }: Pick<DecoderPoolOptions, "timeoutMs" | "maxRssBytes">,
  signal: AbortSignal | undefined,
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
  const onAbort = () => stop(signal?.reason);
  const onReply = (reply: RenderReply) => {
    // An answer that crossed the kill: the exit follows, and with it the reason.
    if (stopped) return;
    if (reply.outcome === "accepted") accepted = true;
    else if (reply.outcome === "rendered") resolve(reply.rendered);
    else if (reply.outcome === "refused") reject(new PictureError(reply.code, reply.detail));
    else reject(Object.assign(new Error(reply.detail), { code: reply.code }));
  };
  const onExit = (code: number | null, killedBy: NodeJS.Signals | null) => {
    const Crash = accepted ? PictureError : NotAcceptedError;
    reject(stopped ? stopped.reason : new Crash("DECODER_CRASHED", `exit ${killedBy ?? code}`));
  };
  // A process that could not be started has no exit.
  const onError = (error: Error) => {
    if (!isRunning(child)) reject(error);
  };

  const timer = setTimeout(() => stop(new PictureError("PICTURE_TIMEOUT", `after ${timeoutMs} ms`)), timeoutMs);
  const memory = setInterval(async () => {
    const rss = await residentBytes(child.pid);
    if (rss > maxRssBytes) stop(new PictureError("DECODER_CRASHED", `${rss} bytes of memory, allowed ${maxRssBytes}`));
  }, RSS_POLL_MS);
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
