import { createHash } from "node:crypto";
import { hashRaw } from "@node-rs/argon2";
import pLimit from "p-limit";
import { tooBusy } from "./errors.ts";

/** As passwords are hashed where they are kept: some 8 ms. */
const AS_A_PASSWORD = { memoryCost: 19_456, timeCost: 2, parallelism: 1 };
/** One at a time, for Node's threads have other work; and so many may wait. */
const turns = pLimit(1);
const MOST_WAITING = 128;

/** What a JSON body says: neither spaces nor the order of an object's fields make it another. */
export function contentOfJson(body: unknown): string {
  return body === undefined
    ? ""
    : JSON.stringify(body, (_key, value: unknown) => (isObject(value) ? sorted(value) : value));
}

/**
 * What stands for a content that holds a password. What is signed with the key alone could be guessed as fast as SHA-256
 * goes by whoever reads the table, where the key is one that can be guessed too.
 * @param salt of the account; 8 bytes at least.
 * @throws 503 when too many wait.
 */
export async function contentOfSecret(content: string, salt: string): Promise<string> {
  if (turns.pendingCount >= MOST_WAITING) throw tooBusy({}, { retryAfter: 1 });
  const hash = await turns(() => hashRaw(content, { ...AS_A_PASSWORD, salt: Buffer.from(salt) }));
  return hash.toString("hex");
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
