import type { FastifyReply, FastifyRequest } from "fastify";
import type { ByteRange, MediaStore } from "../ports/media.ts";

/** An object of the media store that a request asks for. */
export interface ServedObject {
  key: string;
  bytes: number;
  /** Strong: the same for the same bytes alone. */
  etag: string;
  content_type: string;
}

/**
 * Sends an object, or the one range of it that is asked for. Whoever calls it has set the headers for caches.
 * @returns whether the store has the object; if not, nothing was sent. (Not the reply: to await one is to wait for its end.)
 */
export async function sendObject(
  request: FastifyRequest,
  reply: FastifyReply,
  store: MediaStore,
  { key, bytes, etag, content_type }: ServedObject,
): Promise<boolean> {
  reply.headers({ etag, "accept-ranges": "bytes" });
  // HEAD tells of the whole: ranges are for GET alone.
  const range = request.method === "GET" ? wantedRange(request.headers, etag, bytes) : null;
  if (range === "unsatisfiable") {
    reply.code(416).header("content-range", `bytes */${bytes}`).send();
    return true;
  }
  const object = await store.read(key, range ?? undefined);
  if (!object) return false;
  if (range) reply.code(206).header("content-range", `bytes ${range.start}-${range.end}/${bytes}`);
  reply
    .header("content-length", range ? range.end - range.start + 1 : bytes)
    .type(content_type)
    .send(object.body);
  return true;
}

/** First and last byte, or how many of the end. (range-parser takes no suffix longer than the whole, and refuses 9-0.) */
const RANGE = /^bytes=(?:(\d+)-(\d*)|-(\d+))$/i;

/** The one range that is asked for; null for the whole: none, several, malformed, or of another version (If-Range). */
function wantedRange(
  headers: { range?: string | undefined; "if-range"?: string | string[] | undefined },
  etag: string,
  size: number,
): ByteRange | "unsatisfiable" | null {
  if (headers.range === undefined) return null;
  const condition = headers["if-range"];
  if (condition !== undefined && condition !== etag) return null;
  const [first, last, suffix] = (RANGE.exec(headers.range) ?? []).slice(1).map((n) => (n ? Number(n) : undefined));
  const end = size - 1;
  if (suffix !== undefined) return suffix > 0 ? { start: Math.max(0, size - suffix), end } : "unsatisfiable";
  if (first === undefined || (last !== undefined && last < first)) return null;
  return first < size ? { start: first, end: Math.min(last ?? end, end) } : "unsatisfiable";
}
