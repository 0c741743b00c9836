import { describe } from "../db/database.ts";
import { classifyDatabaseError, isDatabaseError } from "../db/errors.ts";
import { DependencyError, OperationError } from "../errors.ts";

const LOCK_NOT_AVAILABLE = "55P03";

/** What an error of Postgres means to whoever makes or restores a backup; all others as they are. */
export function explainFailure(error: unknown): unknown {
  if (classifyDatabaseError(error) === "unavailable") {
    return new DependencyError(`Postgres went away: ${describe(error)}`, { hint: "Run it again.", cause: error });
  }
  if (!isDatabaseError(error)) return error;
  if (error.code === LOCK_NOT_AVAILABLE) {
    return new OperationError("somebody else holds what is needed: a migration, or a session that locked a table", {
      hint: "Wait for it, then run it again.",
      cause: error,
    });
  }
  return new OperationError(`Postgres refuses: ${error.message}`, { cause: error });
}
