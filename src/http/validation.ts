import { Ajv } from "ajv";
import type { FastifyRequest, FastifySchemaCompiler } from "fastify";
import type { Static, TSchema } from "typebox";
import { invalidValue } from "./errors.ts";
import { lowerIds } from "./ids.ts";
import { fromValidation } from "./validation-errors.ts";

// Verbose, so that a message can say what the schema says of the field.
const options = { allErrors: true, useDefaults: true, strict: false, verbose: true } as const;
const body = lowerIds(new Ajv({ ...options, coerceTypes: false }));
/** Query strings hold text alone, so `limit=20` must become a number. */
const text = lowerIds(new Ajv({ ...options, coerceTypes: true }));

/** JSON bodies are taken as they are: `"username": 12` is a mistake, not "12". */
export const compileValidator: FastifySchemaCompiler<object> = ({ schema, httpPart }) =>
  (httpPart === "body" ? body : text).compile(schema);

/** For what does not come over HTTP: the same rules and the same messages. @throws 400 or 422 naming every mistake. */
export function assertBody<Schema extends TSchema>(schema: Schema, value: Static<Schema>): Static<Schema> {
  const check = body.compile(schema);
  if (!check(value)) throw fromValidation(check.errors ?? [], "body");
  for (const [name, text] of stringsOf(value)) assertStorable(name, text);
  return value;
}

/**
 * Refuses, on every route alike, text that Postgres cannot store or that is no Unicode: NUL and lone surrogates.
 * In a path it is left to the handler, which finds nothing by such a name.
 */
export async function refuseUnstorableText(request: FastifyRequest): Promise<void> {
  for (const [name, value] of stringsOf(request.body)) assertStorable(name, value);
  if (request.routeOptions.config.anyQuery) return;
  for (const [name, value] of stringsOf(request.query)) {
    // A cursor is decoded and not stored, and a wrong one is told as such.
    if (name !== "cursor") assertStorable(name, value);
  }
}

/** @throws 422 for a NUL or a lone surrogate. */
export function assertStorable(name: string, value: string): void {
  if (value.includes("\0") || !value.isWellFormed()) {
    throw invalidValue(
      { reason: `${name} holds a character that cannot be stored (NUL, or half of a surrogate pair)` },
      { details: { fields: [{ field: name, message: "holds a character that cannot be stored" }] } },
    );
  }
}

function* stringsOf(value: unknown, path = ""): Generator<[string, string]> {
  if (typeof value === "string") yield [path || "the body", value];
  else if (value !== null && typeof value === "object") {
    for (const [key, inner] of Object.entries(value)) {
      yield [path || "a field name", key];
      yield* stringsOf(inner, path ? `${path}.${key}` : key);
    }
  }
}
