import pg from "pg";

/**
 * What a database error means to a caller, decided once, from its SQLSTATE or the socket's error code.
 *
 * - `unavailable`: the server is down, starting, stopping, or out of connections; try again later.
 * - `too_slow`: one statement took longer than it may; the server is there.
 * - `conflict`: a deadlock or serialization failure; the same transaction may be run again at once.
 * - `bad_text`: the text holds what Postgres cannot store (a NUL).
 * - `other`: a defect of ours.
 */
export type DatabaseFailure = "unavailable" | "too_slow" | "conflict" | "bad_text" | "other";

/** Of a socket, and of looking a host up; files have other calls. */
const SOCKET_CALLS: ReadonlySet<unknown> = new Set(["connect", "read", "write", "getaddrinfo"]);
const SOCKET_ERRORS = new Set(["ECONNREFUSED", "ECONNRESET", "ENOENT", "EPIPE", "ETIMEDOUT", "ENOTFOUND", "EAI_AGAIN"]);

/** pg reports these without a code. */
const DRIVER_MESSAGES =
  /timeout exceeded when trying to connect|Connection terminated|Client has encountered a connection error|Cannot use a pool after calling end|Query read timeout/;

export function classifyDatabaseError(error: unknown): DatabaseFailure {
  if (!(error instanceof Error)) return "other";
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  if (code === "40001" || code === "40P01") return "conflict";
  if (code === "57014") return "too_slow";
  if (code === "22021" || code === "22P05") return "bad_text";
  // 08 connection, 53 out of resources, 57 operator intervention (shutdown), 58 system.
  if (/^(08|53|57|58)/.test(code) && code.length === 5) return "unavailable";
  if ("syscall" in error && SOCKET_ERRORS.has(code) && SOCKET_CALLS.has(error.syscall)) return "unavailable";
  // Of a host with several addresses, Node tells how each refused.
  if (error instanceof AggregateError && error.errors.some((one) => classifyDatabaseError(one) === "unavailable")) {
    return "unavailable";
  }
  return DRIVER_MESSAGES.test(error.message) ? "unavailable" : "other";
}

/** The name of the unique constraint that refused a row, or null when the error is another. */
export function violatedUnique(error: unknown): string | null {
  if (!(error instanceof Error) || !("code" in error) || error.code !== "23505") return null;
  return "constraint" in error && typeof error.constraint === "string" ? error.constraint : null;
}

/** Whether Postgres itself refused: such an error's `detail` quotes rows and must not be shown. */
export function isDatabaseError(error: unknown): error is pg.DatabaseError {
  return error instanceof pg.DatabaseError;
}
