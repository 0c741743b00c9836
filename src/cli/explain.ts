import { Errors } from "@oclif/core";
import { ExitError } from "../errors.ts";
import { HttpError } from "../http/errors.ts";

/** An error as the command line tells it. */
export interface Explained {
  code: string;
  message: string;
  hint: string | null;
  /** The exit code of the process. */
  exit: number;
}

export function explain(error: unknown): Explained {
  if (error instanceof ExitError) {
    return { code: error.name, message: error.message, hint: error.hint ?? null, exit: error.exitCode };
  }
  // The rules of a feature: what was given is wrong (a bad name), or cannot be done (a name that is taken).
  if (error instanceof HttpError) {
    const wrongUsage = error.status === 400 || error.status === 422;
    return { code: error.code, message: error.message, hint: null, exit: wrongUsage ? 2 : 1 };
  }
  if (error instanceof Errors.CLIError) {
    return { code: "UsageError", message: error.message, hint: null, exit: error.oclif.exit ?? 2 };
  }
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { code: "InternalError", message, hint: null, exit: 1 };
}

/** On stderr for people; with `--json` as the one document on stdout. */
export function printError({ code, message, hint }: Explained, json: boolean): void {
  if (json) {
    process.stdout.write(`${JSON.stringify({ error: { code, message, hint } }, null, 2)}\n`);
    return;
  }
  process.stderr.write(`Error: ${message}\n${hint ? `  ${hint}\n` : ""}`);
}
