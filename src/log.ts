import { type DestinationStream, type Logger, pino, stdTimeFunctions } from "pino";
import pretty from "pino-pretty";
import type { Config } from "./config/schema.ts";

/** What must not be read in logs, wherever an object that holds it is logged. */
const SECRETS = ["password", "token", "email", "authorization", "cookie", "ticket", "*.password", "*.token", "*.email"];

/**
 * The process' logger. Logs of `serve` and `worker` are their output and go to stdout; those of a command go to
 * stderr, so that stdout holds its result alone.
 */
export function createLogger(config: Config["log"], destination: "stdout" | "stderr"): Logger {
  const descriptor = destination === "stdout" ? 1 : 2;
  const stream: DestinationStream =
    config.format === "pretty"
      ? pretty({ destination: descriptor, sync: true, ignore: "pid,hostname", colorize: process.stdout.isTTY === true })
      : pino.destination({ dest: descriptor, sync: true });
  return pino(
    {
      level: config.level,
      timestamp: stdTimeFunctions.isoTime,
      redact: { paths: SECRETS, censor: "[redacted]" },
      formatters: { level: (label) => ({ level: label }) },
    },
    stream,
  );
}
