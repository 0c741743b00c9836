import type { FastifyReply, FastifyRequest } from "fastify";
import { type TSchema, Type } from "typebox";
import { invalidCursor } from "./errors.ts";

/** Where a page ended: lists are ordered by a time, latest first, then by id. */
export interface Position {
  at: Date;
  id: string;
}

/** Where a page ended of those that are ordered by a number instead, the highest first. */
export interface RankedPosition {
  /** A non-negative integer of Postgres' type. */
  rank: number;
  id: string;
}

export interface Page<Item> {
  items: Item[];
  next_cursor: string | null;
}

export const DEFAULT_LIMIT = 20;
/** The year 10000: RFC 3339 ends before it. */
const END_OF_TIME = 253_402_300_800_000;
const END_OF_RANKS = 2 ** 31;

/** Query string of every list. */
export const PageQuery = Type.Object({
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, default: DEFAULT_LIMIT })),
  cursor: Type.Optional(Type.String({ description: "`next_cursor` of the page before" })),
});

export function pageOf<Item extends TSchema>(item: Item) {
  return Type.Object({ items: Type.Array(item), next_cursor: Nullable(Type.String()) });
}

export function Nullable<T extends TSchema>(schema: T) {
  return Type.Union([schema, Type.Null()]);
}

/** 8 bytes of milliseconds, or of the rank, and 16 of the id, base64url: opaque to clients, 32 characters. */
export function encodeCursor(position: Position | RankedPosition): string {
  const bytes = Buffer.alloc(24);
  bytes.writeBigInt64BE(BigInt("at" in position ? position.at.getTime() : position.rank));
  bytes.write(position.id.replaceAll("-", ""), 8, "hex");
  return bytes.toString("base64url");
}

/** @throws 400 for anything that `encodeCursor` did not make. */
export function decodeCursor(cursor: string): Position {
  const { order, id } = decode(cursor, END_OF_TIME);
  return { at: new Date(order), id };
}

/** @throws 400 for anything that `encodeCursor` did not make of a RankedPosition. */
export function decodeRankedCursor(cursor: string): RankedPosition {
  const { order, id } = decode(cursor, END_OF_RANKS);
  return { rank: order, id };
}

function decode(cursor: string, end: number): { order: number; id: string } {
  const bytes = Buffer.from(cursor, "base64url");
  const order = bytes.length === 24 ? Number(bytes.readBigInt64BE()) : Number.NaN;
  if (!(order >= 0 && order < end) || bytes.toString("base64url") !== cursor) throw invalidCursor({});
  const id = bytes.toString("hex", 8).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  return { order, id };
}

interface PageOptions {
  limit?: number;
  cursor?: string;
}

/** The position and limit that a list's query asks for. */
export function pageRequest({ limit, cursor }: PageOptions): { limit: number; after: Position | null } {
  return { limit: limit ?? DEFAULT_LIMIT, after: cursor === undefined ? null : decodeCursor(cursor) };
}

/** The same of a list that is ordered by a number. */
export function rankedPageRequest({ limit, cursor }: PageOptions): { limit: number; after: RankedPosition | null } {
  return { limit: limit ?? DEFAULT_LIMIT, after: cursor === undefined ? null : decodeRankedCursor(cursor) };
}

/**
 * Cuts rows to a page and adds the `Link` header.
 * @param options.rows one more than `limit` where there are more: that is how a next page is known.
 * @param options.next where it begins though the rows do not show that there is one, some of them having gone meanwhile.
 */
export function sendPage<Row, Item>(
  request: FastifyRequest,
  reply: FastifyReply,
  options: {
    rows: readonly Row[];
    limit: number;
    publicUrl: string;
    position(row: Row): Position | RankedPosition;
    item(row: Row): Item;
    next?: Position | null;
  },
): Page<Item> {
  const { rows, limit, publicUrl, position, item } = options;
  const shown = rows.slice(0, limit);
  const last = rows.length > limit ? shown.at(-1) : undefined;
  const next = last === undefined ? (options.next ?? null) : position(last);
  const nextCursor = next && encodeCursor(next);
  if (nextCursor !== null) {
    const [path, search] = request.url.split("?", 2);
    const query = new URLSearchParams(search);
    query.set("cursor", nextCursor);
    reply.header("link", `<${publicUrl}${path}?${query}>; rel="next"`);
  }
  return { items: shown.map(item), next_cursor: nextCursor };
}
