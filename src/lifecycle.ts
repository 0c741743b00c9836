import type { Logger } from "pino";

/** One step of a shutdown. */
export interface Phase {
  name: string;
  /** Milliseconds it may take at most; then it is left behind and the next begins. */
  timeout: number;
  /** Milliseconds that it has in any case, also when those before it used up the time of all. */
  reserved?: number;
  /** @param timeout the milliseconds that it really has. */
  run(timeout: number): Promise<unknown>;
}

/**
 * Runs the phases in order; each failure or overrun is logged and does not stop the next.
 * @param budget milliseconds for all of them together, but for what phases have reserved.
 * @returns whether all went well.
 */
export async function shutDown(
  phases: readonly Phase[],
  log: Logger,
  budget = Number.POSITIVE_INFINITY,
): Promise<boolean> {
  const end = performance.now() + budget;
  let clean = true;
  for (const phase of phases) {
    const started = performance.now();
    const timeout = Math.max(phase.reserved ?? 0, Math.min(phase.timeout, end - started));
    const outcome = await withTimeout(phase, timeout);
    const ms = Math.round(performance.now() - started);
    if (outcome === null) {
      log.info({ phase: phase.name, ms }, "shutdown phase done");
    } else {
      clean = false;
      log.error({ phase: phase.name, ms, err: outcome }, "shutdown phase failed");
    }
  }
  return clean;
}

/**
 * Resolves with the first SIGTERM, SIGINT or SIGHUP (the terminal is closed), or when `stop` is called. A second signal ends the process at once, with
 * the exit code that a shell gives to a process that the signal killed.
 */
export function untilStopped(log: Logger): { stopped: Promise<string>; stop(reason: string): void } {
  const { promise, resolve } = Promise.withResolvers<string>();
  let stopping = false;
  for (const [signal, code] of [
    ["SIGTERM", 143],
    ["SIGINT", 130],
    ["SIGHUP", 129],
  ] as const) {
    process.on(signal, () => {
      if (stopping) {
        log.fatal({ signal }, "second signal: ended at once");
        process.exit(code);
      }
      stopping = true;
      resolve(signal);
    });
  }
  return {
    stopped: promise,
    stop: (reason) => {
      stopping = true;
      resolve(reason);
    },
  };
}

/**
 * Calls `stop` when the process that started this one ends. For a process under npx, which hands SIGTERM to its shell
 * and not to what the shell runs: without this, `kill` of npx would leave a server behind.
 */
export function stopWithParent(stop: (reason: string) => void): void {
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    stop("the process that started this one has ended");
  }, 250);
  timer.unref();
}

async function withTimeout(phase: Phase, timeout: number): Promise<Error | null> {
  let timer: NodeJS.Timeout | undefined;
  const overrun = new Promise<Error>((resolve) => {
    timer = setTimeout(() => resolve(new Error(`took longer than ${Math.round(timeout)} ms`)), timeout);
  });
  // In an async function, so that what is thrown at once does not stop the next phase either.
  const work = (async () => phase.run(timeout))().then(
    () => null,
    (error: unknown) => (error instanceof Error ? error : new Error(String(error))),
  );
  const outcome = await Promise.race([work, overrun]);
  clearTimeout(timer);
  return outcome;
}
