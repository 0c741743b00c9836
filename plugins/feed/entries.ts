import { stringify } from "uuid";
import type { Position } from "../../src/http/paging.ts";

/**
 * An entry of a timeline: a post's place and id in 24 bytes, 8 of milliseconds and 16 of the id, both big-endian. Bytes
 * compare as places do, and a cursor is the same bytes.
 */
export const ENTRY_BYTES = 24;

/** The last element of a timeline that reaches back to the beginning. It is below every entry. */
export const END = Buffer.alloc(ENTRY_BYTES);

export function entryOf({ at, id }: Position): Buffer {
  const entry = Buffer.alloc(ENTRY_BYTES);
  entry.writeBigInt64BE(BigInt(at.getTime()));
  entry.write(id.replaceAll("-", ""), 8, "hex");
  return entry;
}

export function positionOf(entry: Buffer): Position {
  return { at: new Date(Number(entry.readBigInt64BE())), id: idOf(entry) };
}

export function idOf(entry: Buffer): string {
  return stringify(entry, 8);
}

/** @param bytes entries one behind the other. */
export function splitEntries(bytes: Buffer): Buffer[] {
  const entries: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += ENTRY_BYTES) entries.push(bytes.subarray(at, at + ENTRY_BYTES));
  return entries;
}
