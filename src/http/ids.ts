import type { Ajv, FuncKeywordDefinition, ValidateFunction } from "ajv";
import { Type } from "typebox";
import { validate as isUuid } from "uuid";

/**
 * The id of a thing, wherever a request names one: in a path, a query or a body. It comes in lower case, as Postgres writes it
 * and as it is compared, kept and told to caches everywhere. What is no id passes too: it names nothing, which is the
 * handler's 404.
 */
export function Id(options: { description?: string } = {}) {
  return Type.String({ ...options, format: "uuid" });
}

/** The parameters of a path with one id. */
export const IdParams = Type.Object({ id: Id() });

/**
 * In place of Ajv's own `format`, which refuses and changes nothing. Not `modifying`: no keyword looks at the value after it, and
 * Ajv cannot compile its own meta-schema, which has formats of names of properties, with a keyword that is.
 */
const format: FuncKeywordDefinition = {
  keyword: "format",
  type: "string",
  schemaType: "string",
  errors: false,
  validate: (name: string, value: string, _schema?: unknown, at?: Place) => {
    if (at && name === "uuid" && isUuid(value)) at.parentData[at.parentDataProperty] = value.toLowerCase();
    return true;
  },
};

/** Where a value was found. */
type Place = Pick<NonNullable<Parameters<ValidateFunction>[1]>, "parentData" | "parentDataProperty">;

/** Has a validator write ids in one way. */
export function lowerIds(ajv: Ajv): Ajv {
  ajv.removeKeyword("format");
  return ajv.addKeyword(format);
}
