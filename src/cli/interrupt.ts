import { OperationError } from "../errors.ts";

/**
 * Runs `work`, whose signal is aborted by SIGINT, SIGTERM or SIGHUP: it ends in order, and leaves behind what it says. A
 * second one ends the process at once.
 * @param left what is so then, one sentence.
 */
export async function untilInterrupted<T>(left: string, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const interrupt = () => {
    stopListening();
    controller.abort(new OperationError("interrupted", { hint: left }));
  };
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  const stopListening = () => {
    for (const signal of signals) process.off(signal, interrupt);
  };
  for (const signal of signals) process.on(signal, interrupt);
  try {
    return await work(controller.signal);
  } finally {
    stopListening();
  }
}
