import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type pg from "pg";
import { from as copyFrom } from "pg-copy-streams";

export type Value = string | number | boolean | Date | Buffer | null;

/** Characters that are handed over at once. */
const PIECE = 256 * 1024;

/** Loads rows by COPY, in the order of the columns. @returns how many there were. */
export async function copyRows(
  client: pg.ClientBase,
  table: string,
  columns: readonly string[],
  rows: Iterable<readonly Value[]>,
): Promise<number> {
  let count = 0;
  function* pieces() {
    let piece = "";
    for (const row of rows) {
      piece += `${row.map(field).join("\t")}\n`;
      count++;
      if (piece.length < PIECE) continue;
      yield Buffer.from(piece);
      piece = "";
    }
    if (piece !== "") yield Buffer.from(piece);
  }
  await pipeline(Readable.from(pieces()), client.query(copyFrom(`COPY ${table} (${columns.join(", ")}) FROM STDIN`)));
  return count;
}

/** As COPY's text format has it. */
function field(value: Value): string {
  if (value === null) return "\\N";
  if (typeof value === "string") return value.replace(/[\\\n\r\t]/g, escaped);
  if (Buffer.isBuffer(value)) return `\\\\x${value.toString("hex")}`;
  return value instanceof Date ? value.toISOString() : String(value);
}

function escaped(character: string): string {
  return { "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t" }[character] ?? character;
}
