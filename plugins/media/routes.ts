import fresh from "fresh";
import { Type } from "typebox";
import { validate as isUuid } from "uuid";
import type { Context } from "../../src/context.ts";
import type { App } from "../../src/http/types.ts";
import type { ByteRange } from "../../src/ports/media.ts";
import { RENDITION_NAMES } from "./decoder/protocol.ts";
import { mediumNotFound } from "./errors.ts";
import { renditionKey } from "./keys.ts";
import { publicRendition } from "./store.ts";

const WEBP = { content: { "image/webp": { schema: Type.Any() } } };

/** `/media/:medium/:rendition.webp`, outside of /api/v1: an <img> sends no token. */
export async function mediaRoutes(app: App, { db, media }: Context): Promise<void> {
  app.get(
    "/media/:medium/:file",
    {
      schema: {
        summary: "A rendition, as WebP",
        description: "`:file` is thumbnail.webp, small.webp, medium.webp or large.webp. Ranges and If-None-Match work.",
        tags: ["Media"],
        params: Type.Object({ medium: Type.String(), file: Type.String() }),
        response: { 200: WEBP, 206: WEBP, 304: Type.Null(), 416: Type.Null() },
      },
    },
    async (request, reply) => {
      const { medium, file } = request.params;
      const name = RENDITION_NAMES.find((rendition) => `${rendition}.webp` === file);
      const found = name && isUuid(medium) ? await publicRendition(db, medium.toLowerCase(), name) : undefined;
      if (!name || !found) throw mediumNotFound({});

      const etag = `"${found.sha256.toString("base64url")}"`;
      reply.headers({
        etag,
        "cache-control": "public, max-age=60",
        "accept-ranges": "bytes",
        "cross-origin-resource-policy": "cross-origin",
      });
      // Of the headers this one alone: by `Cache-Control: no-cache`, which fetch adds to it, a client tells caches to ask
      // us, not us to send again what it has.
      if (fresh({ "if-none-match": request.headers["if-none-match"] }, { etag })) return reply.code(304).send(null);

      // HEAD tells of the whole: ranges are for GET alone.
      const range = request.method === "GET" ? wantedRange(request.headers, etag, found.bytes) : null;
      if (range === "unsatisfiable") {
        return reply.code(416).header("content-range", `bytes */${found.bytes}`).send(null);
      }
      const object = await media.read(renditionKey(medium.toLowerCase(), name), range ?? undefined);
      if (!object) throw mediumNotFound({});
      if (range) reply.code(206).header("content-range", `bytes ${range.start}-${range.end}/${found.bytes}`);
      return reply
        .header("content-length", range ? range.end - range.start + 1 : found.bytes)
        .type("image/webp")
        .send(object.body);
    },
  );
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
