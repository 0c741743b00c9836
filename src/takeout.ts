import { Readable } from "node:stream";

/** One file of a person's takeout. */
export interface TakeoutEntry {
  /** In the archive, such as `posts.json` or `media/<post>/1.jpg`. */
  path: string;
  /** Its bytes, asked for when its turn has come; null when they are not there any more. */
  open(): Promise<Readable | null>;
  /** They are compressed already, as pictures are. */
  packed: boolean;
}

/** A JSON document. */
export function jsonEntry(path: string, value: unknown): TakeoutEntry {
  return { path, packed: false, open: async () => Readable.from([`${JSON.stringify(value, null, 2)}\n`]) };
}

/** A JSON array, one item a line, that is read as it is written: memory does not grow with it. */
export function jsonListEntry(path: string, items: AsyncIterable<unknown>): TakeoutEntry {
  return { path, packed: false, open: async () => Readable.from(jsonLines(items)) };
}

async function* jsonLines(items: AsyncIterable<unknown>): AsyncGenerator<string> {
  let before = "[\n";
  for await (const item of items) {
    yield `${before}${JSON.stringify(item)}`;
    before = ",\n";
  }
  yield before === "[\n" ? "[]\n" : "\n]\n";
}
