import { type DestinationStream, type Logger, pino, stdTimeFunctions } from "pino";
import pretty from "pino-pretty";
import type { Config } from "./config/schema.ts";
import { isDatabaseError } from "./db/errors.ts";

/** What must not be read in logs, wherever an object that holds it is logged. */
const SECRETS = [
  ...["password", "token", "email", "authorization", "cookie", "ticket", "*.password", "*.token", "*.email"],
  // A multipart parser logs a request's headers at "trace".
  ...["headers", "*.headers"],
];

const STDERR = 2;

/** The process' logger, on stderr: stdout is for results alone. */
export function createLogger(config: Config["log"]): Logger {
  const stream: DestinationStream =
    config.format === "pretty"
      ? pretty({ destination: STDERR, sync: true, ignore: "pid,hostname", colorize: process.stderr.isTTY === true })
      : pino.destination({ dest: STDERR, sync: true });
  return pino(
    {
      level: config.level,
      timestamp: stdTimeFunctions.isoTime,
      serializers: { err: serializeError },
      redact: { paths: SECRETS, censor: "[redacted]" },
      formatters: { level: (label) => ({ level: label }) },
    },
    stream,
  );
}

/** As pino does, but without what Postgres adds to an error: it quotes rows, and with them emails and hashes. */
function serializeError(error: Error) {
  // pg puts the client itself into the errors of a lost connection, Node what was sent into those of HTTP.
  const { detail, where, internalQuery, parameters, client, rawPacket, ...shown } = pino.stdSerializers.err(error);
  return isDatabaseError(error) ? shown : { ...shown, ...(detail === undefined ? {} : { detail }) };
}

/** What fails again and again says so once in `ms` milliseconds, which is enough. */
export function oncePer<Argument>(ms: number, say: (argument: Argument) => void): (argument: Argument) => void {
  let quietUntil = 0;
  return (argument) => {
    if (performance.now() < quietUntil) return;
    quietUntil = performance.now() + ms;
    say(argument);
  };
}
