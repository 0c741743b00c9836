import { createHash } from "node:crypto";

/** What a JSON body says: neither spaces nor the order of an object's fields make it another. */
export function contentOfJson(body: unknown): string {
  return body === undefined
    ? ""
    : JSON.stringify(body, (_key, value: unknown) => (isObject(value) ? sorted(value) : value));
}

function isObject(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

function sorted(value: Record<string, unknown>): Record<string, unknown> {
  // Without a prototype, so that a field named __proto__ is one like others.
  const result: Record<string, unknown> = Object.create(null);
  for (const key of Object.keys(value).sort()) result[key] = value[key];
  return result;
}

/** What a multipart form says: its parts in their order. What stands between them differs each time it is sent. */
export class FormContent {
  readonly #hash = createHash("sha256");

  field(name: string, value: string): void {
    this.#part("field", name, createHash("sha256").update(value).digest("hex"));
  }

  file(name: string, sha256: Buffer): void {
    this.#part("file", name, sha256.toString("hex"));
  }

  digest(): string {
    return this.#hash.digest("hex");
  }

  #part(...part: [kind: string, name: string, sha256: string]): void {
    this.#hash.update(`${JSON.stringify(part)}\n`);
  }
}
