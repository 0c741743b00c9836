import type { FastifyReply, FastifyRequest } from "fastify";
import { type TSchema, Type } from "typebox";
import { invalidCursor } from "./errors.ts";

/** Where a page ended: lists are ordered by a time, latest first, then by id. */
export interface Position {
  at: Date;
  id: string;
}

export interface Page<Item> {
  items: Item[];
  next_cursor: string | null;
}

export const DEFAULT_LIMIT = 20;
/** The year 10000: RFC 3339 ends before it. */
const END_OF_TIME = 253_402_300_800_000;

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

/** 8 bytes of milliseconds and 16 of the id, base64url: opaque to clients, 32 characters. */
export function encodeCursor({ at, id }: Position): string {
  const bytes = Buffer.alloc(24);
  bytes.writeBigInt64BE(BigInt(at.getTime()));
  bytes.write(id.replaceAll("-", ""), 8, "hex");
  return bytes.toString("base64url");
}

/** @throws 400 for anything that `encodeCursor` did not make. */
export function decodeCursor(cursor: string): Position {
  const bytes = Buffer.from(cursor, "base64url");
  const milliseconds = bytes.length === 24 ? Number(bytes.readBigInt64BE()) : Number.NaN;
  const at = new Date(milliseconds);
  if (!(milliseconds >= 0 && milliseconds < END_OF_TIME) || bytes.toString("base64url") !== cursor)
    throw invalidCursor({});
  const id = bytes.toString("hex", 8).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  return { at, id };
}

/** The position and limit that a list's query asks for. */
export function pageRequest(query: { limit?: number; cursor?: string }): { limit: number; after: Position | null } {
  return {
    limit: query.limit ?? DEFAULT_LIMIT,
    after: query.cursor === undefined ? null : decodeCursor(query.cursor),
  };
}

/**
 * Cuts rows to a page and adds the `Link` header.
 * @param rows one more than `limit` where there are more: that is how a next page is known.
 */
export function sendPage<Row, Item>(
  request: FastifyRequest,
  reply: FastifyReply,
  options: {
    rows: readonly Row[];
    limit: number;
    publicUrl: string;
    position(row: Row): Position;
    item(row: Row): Item;
  },
): Page<Item> {
  const { rows, limit, publicUrl, position, item } = options;
  const shown = rows.slice(0, limit);
  const last = rows.length > limit ? shown.at(-1) : undefined;
  const nextCursor = last === undefined ? null : encodeCursor(position(last));
  if (nextCursor !== null) {
    const url = new URL(request.url, publicUrl);
    url.searchParams.set("cursor", nextCursor);
    reply.header("link", `<${publicUrl}${url.pathname}${url.search}>; rel="next"`);
  }
  return { items: shown.map(item), next_cursor: nextCursor };
}
