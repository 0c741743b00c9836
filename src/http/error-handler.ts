import type { FastifyError, FastifyReply, FastifyRequest } from "fastify";
import { describe } from "../db/database.ts";
import { classifyDatabaseError } from "../db/errors.ts";
import { DependencyError } from "../errors.ts";
import {
  bodyTooLarge,
  HttpError,
  headersTooLarge,
  internalError,
  invalidJson,
  invalidRequest,
  invalidValue,
  requestTimeout,
  shuttingDown,
  unavailable,
  unsupportedMediaType,
} from "./errors.ts";
import { Replay, sendReplay } from "./idempotency.ts";
import { fromValidation } from "./validation-errors.ts";

/** Seconds after which a client may try what an outage refused. */
const RETRY_AFTER = 5;

/** The body of every error answer. */
export function errorBody(error: HttpError, requestId: string) {
  return { error: { code: error.code, message: error.message, request_id: requestId, details: error.details } };
}

export function sendError(request: FastifyRequest, reply: FastifyReply, error: HttpError): FastifyReply {
  if (error.retryAfter !== undefined) reply.header("retry-after", error.retryAfter);
  if (error.passes && request.idempotency) request.idempotency.passes = true;
  return (
    reply
      .code(error.status)
      // It is about this moment: what may not be seen now may be seen in the next.
      .header("cache-control", "no-store")
      .type("application/json; charset=utf-8")
      .send(errorBody(error, request.id))
  );
}

/** Any error as one of the catalogue; ours are logged with their cause. */
export function answerFor(error: unknown, request: FastifyRequest): HttpError {
  const answer = toHttpError(error);
  // An outage is told by the log of whoever notices it; a stack a request would drown that.
  if (answer.status === 503) request.log.warn({ code: answer.code, reason: describe(error) }, "request refused");
  else if (answer.status >= 500) request.log.error({ err: error }, "request failed");
  return answer;
}

/** Fastify's error handler. */
export function handleError(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  if (error instanceof Replay) return sendReplay(reply, error.answer);
  const answer = answerFor(error, request);
  if (reply.raw.headersSent) {
    reply.raw.destroy();
    return reply;
  }
  return sendError(request, reply, answer);
}

function toHttpError(error: unknown): HttpError {
  if (error instanceof HttpError) return error;
  if (error instanceof DependencyError) return unavailable({}, { retryAfter: RETRY_AFTER, cause: error });
  switch (classifyDatabaseError(error)) {
    case "unavailable":
    case "too_slow":
    case "conflict":
      return unavailable({}, { retryAfter: RETRY_AFTER, cause: error });
    case "bad_text":
      return invalidValue({ reason: "the text holds a character that cannot be stored" });
    default:
      return fromFastify(error) ?? internalError({}, { cause: error });
  }
}

function fromFastify(error: unknown): HttpError | null {
  if (!(error instanceof Error)) return null;
  const { code, validation, validationContext, statusCode } = error as FastifyError;
  if (validation) return fromValidation(validation, validationContext ?? "request");
  switch (code) {
    case "FST_ERR_CTP_INVALID_MEDIA_TYPE":
      return unsupportedMediaType({
        expected: "a body of the type that this route takes, with its Content-Type header",
      });
    case "FST_ERR_CTP_EMPTY_JSON_BODY":
    case "FST_ERR_CTP_INVALID_JSON_BODY":
      return invalidJson({});
    case "FST_ERR_CTP_BODY_TOO_LARGE":
      return bodyTooLarge({});
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return requestTimeout({});
    case "HPE_HEADER_OVERFLOW":
      return headersTooLarge({});
    case "FST_ERR_REOPENED_CLOSE_SERVER":
      return shuttingDown({}, { retryAfter: 1 });
  }
  if (statusCode === 503) return shuttingDown({}, { retryAfter: 1 });
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500)
    return invalidRequest({ reason: error.message });
  return null;
}
