import { OperationError } from "../errors.ts";

/**
 * Runs `work`, whose signal is aborted by SIGINT, SIGTERM or SIGHUP: it ends in order, and leaves behind what it says. A
 * second one ends the process at once.
 * @param left what is so then, one or two sentences; asked when the work has ended.
 */
export async function untilInterrupted<T>(
  left: string | (() => string),
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const interrupted = () => new OperationError("interrupted", { hint: typeof left === "string" ? left : left() });
  const interrupt = () => {
    stopListening();
    controller.abort(interrupted());
  };
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  const stopListening = () => {
    for (const signal of signals) process.off(signal, interrupt);
  };
  for (const signal of signals) process.on(signal, interrupt);
  try {
    return await work(controller.signal);
  } catch (error) {
    throw controller.signal.aborted && error === controller.signal.reason ? interrupted() : error;
  } finally {
    stopListening();
  }
}
