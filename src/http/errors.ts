/** An answer that is an error: `{"error":{code,message,request_id,details}}` with its status. */
export class HttpError extends Error {
  readonly code: string;
  readonly status: number;
  readonly details: Record<string, unknown>;
  /** See ErrorDefinition. */
  readonly passes: boolean;
  /** Seconds, sent as Retry-After. */
  readonly retryAfter: number | undefined;

  constructor(definition: ErrorDefinition, message: string, extra: ErrorExtra) {
    super(message, extra.cause === undefined ? undefined : { cause: extra.cause });
    this.name = "HttpError";
    this.code = definition.code;
    this.status = definition.status;
    this.details = extra.details ?? {};
    this.passes = definition.passes;
    this.retryAfter = extra.retryAfter;
  }
}

export interface ErrorDefinition {
  code: string;
  status: number;
  /** The message, with `{placeholders}`. */
  template: string;
  /** A 4xx that whoever gets it, or somebody else, can mend, so that the same request may be taken then. */
  passes: boolean;
}

interface ErrorExtra {
  details?: Record<string, unknown>;
  retryAfter?: number;
  cause?: unknown;
}

type Placeholders<Template extends string> = Template extends `${string}{${infer Name}}${infer Rest}`
  ? Name | Placeholders<Rest>
  : never;

type Values<Template extends string> = Record<Placeholders<Template>, string | number>;

const catalogue = new Map<string, ErrorDefinition>();

/** Every error that was defined, by code; docs/errors.md is made of it and a test pins it. */
export function errorCatalogue(): ErrorDefinition[] {
  return [...catalogue.values()].sort((a, b) => a.status - b.status || a.code.localeCompare(b.code));
}

/** Defines an error once, with a code of its own; the result makes one: `throw postNotFound({ id })`. */
export function defineError<const Template extends string>(
  code: string,
  status: number,
  template: Template,
  { passes = false } = {},
): (values: Values<Template>, extra?: ErrorExtra) => HttpError {
  if (catalogue.has(code)) throw new Error(`error ${code} is defined twice`);
  const definition = { code, status, template, passes };
  catalogue.set(code, definition);
  return (values, extra = {}) => new HttpError(definition, fill(template, values), extra);
}

function fill(template: string, values: Record<string, string | number>): string {
  return template.replace(/\{(\w+)\}/g, (_, name: string) => String(values[name]));
}

export const invalidRequest = defineError("INVALID_REQUEST", 400, "The request is malformed: {reason}.");
export const invalidJson = defineError("INVALID_JSON", 400, "The body is not JSON.");
export const bodyTooDeep = defineError(
  "BODY_TOO_DEEP",
  400,
  "The body has arrays and objects in each other, more than {levels} levels of them.",
);
export const invalidCursor = defineError(
  "INVALID_CURSOR",
  400,
  "The cursor is not one that this list gave. Start again without it.",
);
export const unauthenticated = defineError(
  "UNAUTHENTICATED",
  401,
  "Sign in first: send the header Authorization: Bearer TOKEN with a token that is still valid.",
);
export const routeNotFound = defineError("ROUTE_NOT_FOUND", 404, "There is no {method} {path}.");
export const requestTimeout = defineError("REQUEST_TIMEOUT", 408, "The request took too long to arrive.");
export const keyInProgress = defineError(
  "IDEMPOTENCY_IN_PROGRESS",
  409,
  "The request with this Idempotency-Key is still under way. Send it again shortly.",
);
export const bodyTooLarge = defineError("BODY_TOO_LARGE", 413, "The body is larger than this route takes.");
export const unsupportedMediaType = defineError("UNSUPPORTED_MEDIA_TYPE", 415, "Send {expected}.");
export const invalidValue = defineError("INVALID_VALUE", 422, "The request was understood but refused: {reason}.");
export const keyReused = defineError(
  "IDEMPOTENCY_KEY_REUSED",
  422,
  "This Idempotency-Key was used for a request with another body. Give each request a key of its own.",
);
export const headersTooLarge = defineError("HEADERS_TOO_LARGE", 431, "The headers are too large.");
export const internalError = defineError(
  "INTERNAL",
  500,
  "Something failed on our side. Tell the operator the request id.",
);
export const unavailable = defineError("UNAVAILABLE", 503, "A part of the system does not answer. Try again shortly.");
export const tooBusy = defineError("TOO_BUSY", 503, "Too many ask for this at once. Try again shortly.");
export const shuttingDown = defineError("SHUTTING_DOWN", 503, "This server is being stopped. Try again at once.");
