import { type HttpError, invalidRequest, invalidValue } from "./errors.ts";

/** What Ajv says of one mistake; Fastify hands it on. */
interface ValidationError {
  keyword: string;
  instancePath: string;
  params: Record<string, unknown>;
  message?: string | undefined;
  /** Only of a verbose Ajv. */
  parentSchema?: { [keyword: string]: unknown } | undefined;
}

/** What a value may be wrong in, though the request has the right shape: 422 and not 400. */
const VALUE_KEYWORDS = new Set([
  "pattern",
  "minLength",
  "maxLength",
  "minimum",
  "maximum",
  "enum",
  "const",
  "maxItems",
  "minItems",
]);

/**
 * 400 where the request has the wrong shape, 422 where only values break a rule; names every mistake.
 * @param where `body`, `querystring` …
 */
export function fromValidation(all: readonly ValidationError[], where: string): HttpError {
  const errors = withoutNullBranches(all);
  const fields = errors.map((error) => ({ field: fieldOf(error), message: messageOf(error) }));
  const reason = fields
    .map(({ field, message }) => (field ? `${field} ${message}` : `the ${where} ${message}`))
    .join("; ");
  const onlyValues = where === "body" && errors.every((error) => VALUE_KEYWORDS.has(error.keyword));
  return (onlyValues ? invalidValue : invalidRequest)({ reason }, { details: { fields } });
}

/** Of a value that may also be null, Ajv reports what is wrong with it, that it is not null, and that neither fits. */
function withoutNullBranches(errors: readonly ValidationError[]): readonly ValidationError[] {
  const nullable = new Set(
    errors.filter(({ keyword, params }) => keyword === "type" && params.type === "null").map((e) => e.instancePath),
  );
  const telling = errors.filter(
    ({ keyword, params, instancePath }) =>
      !nullable.has(instancePath) || (keyword !== "anyOf" && !(keyword === "type" && params.type === "null")),
  );
  return telling.length > 0 ? telling : errors;
}

function fieldOf(error: ValidationError): string {
  const path = error.instancePath.slice(1).replaceAll("/", ".");
  const named = error.params.missingProperty ?? error.params.additionalProperty;
  return typeof named === "string" ? [path, named].filter(Boolean).join(".") : path;
}

function messageOf({ keyword, params, parentSchema, message }: ValidationError): string {
  switch (keyword) {
    case "required":
      return "is missing";
    case "additionalProperties":
      return "is not a field of this request";
    case "minLength":
      return `must have at least ${params.limit} characters`;
    case "maxLength":
      return `must have at most ${params.limit} characters`;
    case "pattern":
      return typeof parentSchema?.description === "string"
        ? `must be ${parentSchema.description}`
        : "has a form that is not taken";
    default:
      return message ?? "is wrong";
  }
}
