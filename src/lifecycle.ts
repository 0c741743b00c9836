import type { Logger } from "pino";

/** One step of a shutdown. */
export interface Phase {
  name: string;
  /** Milliseconds it may take; then it is left behind and the next begins. */
  timeout: number;
  run(): Promise<unknown>;
}

/** Runs the phases in order; each failure or overrun is logged and does not stop the next. @returns whether all went well. */
export async function shutDown(phases: readonly Phase[], log: Logger): Promise<boolean> {
  let clean = true;
  for (const phase of phases) {
    const started = performance.now();
    const outcome = await withTimeout(phase);
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

async function withTimeout(phase: Phase): Promise<Error | null> {
  let timer: NodeJS.Timeout | undefined;
  const overrun = new Promise<Error>((resolve) => {
    timer = setTimeout(() => resolve(new Error(`took longer than ${phase.timeout} ms`)), phase.timeout);
  });
  // In an async function, so that what is thrown at once does not stop the next phase either.
  const work = (async () => phase.run())().then(
    () => null,
    (error: unknown) => (error instanceof Error ? error : new Error(String(error))),
  );
  const outcome = await Promise.race([work, overrun]);
  clearTimeout(timer);
  return outcome;
}
