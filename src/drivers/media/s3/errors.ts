import { S3Error } from "minio";
import { codeOf } from "../../../disk.ts";
import { ConfigError, DependencyError } from "../../../errors.ts";
import { SilenceError } from "./transport.ts";

/** What S3 calls an object, or a bucket, that is not there. */
const ABSENT = new Set(["NoSuchKey", "NotFound"]);
const REFUSED = new Set(["AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"]);
/** A try later may well succeed. */
const PASSING = new Set(["SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "TooManyRequests"]);
/** Connections that broke; those that cannot be made (ECONNREFUSED) are no better a moment later. */
const BROKEN = new Set(["ECONNRESET", "EPIPE", "ECONNABORTED"]);

const HINTS: Readonly<Record<string, string>> = {
  NoSuchBucket: "Run `tintype migrate`, which makes the bucket, or look at TINTYPE_S3_BUCKET.",
  RequestTimeTooSkewed: "This machine's clock differs from the store's: run an NTP client.",
};
const REFUSED_HINT =
  "Look at TINTYPE_S3_ACCESS_KEY and TINTYPE_S3_SECRET_KEY, and whether that user may read, write, list and delete in the bucket.";
const UNREACHABLE_HINT = "Check that the server of TINTYPE_S3_ENDPOINT runs, has space, and is reached from here.";

/** S3's own code (NoSuchKey), or the system's (ECONNRESET), or "". */
export function codeOfS3(error: unknown): string {
  return error instanceof S3Error ? (error.code ?? "") : codeOf(error);
}

export function isAbsent(error: unknown): boolean {
  return ABSENT.has(codeOfS3(error));
}

/** Whether the same call may succeed in a moment. A store that was silent had its time already. */
export function isPassing(error: unknown): boolean {
  if (error instanceof SilenceError || !(error instanceof Error)) return false;
  const code = codeOfS3(error);
  // Of some answers the client keeps the status alone.
  return PASSING.has(code) || BROKEN.has(code) || /Retryable HTTP status/.test(error.message);
}

/** Whatever a store says, the operator is to mend it, and then it works. Errors of this machine's own files stay as they are. */
export function toOutage(error: unknown): unknown {
  if (error instanceof DependencyError || (error instanceof Error && "path" in error)) return error;
  return new DependencyError(`the S3 store does not do what it should: ${describeS3(error)}`, {
    hint: hintFor(error),
    cause: error,
  });
}

/** What is wrong for good is said at once, where a process starts. */
export function toStartError(error: unknown): unknown {
  if (!REFUSED.has(codeOfS3(error))) return toOutage(error);
  return new ConfigError(`the S3 store refuses us: ${describeS3(error)}`, { hint: REFUSED_HINT, cause: error });
}

function hintFor(error: unknown): string {
  const code = codeOfS3(error);
  return HINTS[code] ?? (REFUSED.has(code) ? REFUSED_HINT : UNREACHABLE_HINT);
}

function describeS3(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(describeS3).join("; ");
  const message = error instanceof Error ? error.message : String(error);
  const status = /Retryable HTTP status: (\d+)/.exec(message)?.[1];
  if (status) return `it answered ${status}`;
  const code = codeOfS3(error);
  return code !== "" && !message.includes(code) ? `${code}: ${message}` : message;
}
