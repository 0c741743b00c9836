/**
 * The errors that decide how a process ends. Exit codes: 1 our fault, 2 wrong usage (oclif's own), 3 wrong
 * configuration, 4 a dependency is down. HTTP errors are another matter: see http/errors.ts.
 */
export abstract class ExitError extends Error {
  abstract readonly exitCode: 1 | 3 | 4;
  /** What the operator can do about it, one sentence; printed under the message. */
  readonly hint: string | undefined;

  constructor(message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.hint = options.hint;
  }
}

/** Something the operator asked for could not be done. */
export class OperationError extends ExitError {
  readonly exitCode = 1;
}

/** The configuration is wrong, or asks for what cannot be: mend it and start again. */
export class ConfigError extends ExitError {
  readonly exitCode = 3;
}

/** A dependency (database, object store) does not answer; the same command may succeed later. */
export class DependencyError extends ExitError {
  readonly exitCode = 4;
}

/** The media store is there, and one object in it cannot be read. */
export class UnreadableObjectError extends DependencyError {
  constructor(key: string, cause: unknown) {
    super(`the object ${key} cannot be read: ${cause instanceof Error ? cause.message : cause}`, {
      hint: "Check the disk under the data dir, and who owns the file.",
      cause,
    });
  }
}
