import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import type { Json, Observer } from "./client.ts";

/** RFC 3339 in UTC with milliseconds, the only form of a time in an answer. */
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

/**
 * Holds a server to its own /openapi.json: the observer throws for a 2xx answer in JSON that the document does not
 * describe, or of which it does not describe every field.
 * @param base the server's address.
 */
export async function contractOf(base: string): Promise<Observer> {
  const document: Json = await (await fetch(`${base}/openapi.json`)).json();
  const ajv = new Ajv2020({ strict: false, allErrors: true, formats: { "date-time": TIME } });
  const templates = Object.keys(document.paths)
    // A path without parameters goes before one that its parameters would also match.
    .sort((a, b) => a.split("{").length - b.split("{").length)
    .map((template) => ({ template, pattern: new RegExp(`^${template.replace(/\{[^/{}]+\}/g, "[^/]+")}$`) }));
  const validators = new Map<string, ValidateFunction>();

  return (method, path, answer) => {
    if (answer.status >= 300 || answer.body === null) return;
    const { pathname } = new URL(path, base);
    const found = templates.find(({ pattern }) => pattern.test(pathname) || pattern.test(`/api/v1${pathname}`));
    const where = `${method} ${found?.template ?? pathname} ${answer.status}`;
    const operation = found && document.paths[found.template][method.toLowerCase()];
    const schema = operation?.responses?.[answer.status]?.content?.["application/json"]?.schema;
    if (!schema) throw new Error(`/openapi.json does not describe ${where}`);
    const validate = validators.get(where) ?? ajv.compile(closed(schema));
    validators.set(where, validate);
    if (!validate(answer.body))
      throw new Error(`${where} is not what /openapi.json says: ${ajv.errorsText(validate.errors)}`);
  };
}

/** The same schema, taking no field that it does not name. */
function closed(schema: Json): Json {
  if (Array.isArray(schema)) return schema.map(closed);
  if (schema === null || typeof schema !== "object") return schema;
  const inner = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, closed(value)]));
  return inner.type === "object" && inner.properties && !("additionalProperties" in inner)
    ? { ...inner, additionalProperties: false }
    : inner;
}
