import fresh from "fresh";
import parseRange from "range-parser";
import { Type } from "typebox";
import { validate as isUuid } from "uuid";
import type { Context } from "../../src/context.ts";
import type { App } from "../../src/http/types.ts";
import type { ByteRange } from "../../src/ports/media.ts";
import { RENDITION_NAMES } from "./decoder/protocol.ts";
import { mediumNotFound } from "./errors.ts";
import { renditionKey } from "./keys.ts";
import { publicRendition } from "./store.ts";

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
        produces: ["image/webp"],
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
      if (fresh(request.headers, { etag })) return reply.code(304).send();

      const range = wantedRange(request.headers, etag, found.bytes);
      if (range === "unsatisfiable") {
        return reply.code(416).header("content-range", `bytes */${found.bytes}`).send();
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

/** The one range that is asked for; null for the whole: none, several, malformed, or of another version (If-Range). */
function wantedRange(
  headers: { range?: string | undefined; "if-range"?: string | string[] | undefined },
  etag: string,
  size: number,
): ByteRange | "unsatisfiable" | null {
  if (headers.range === undefined) return null;
  const condition = headers["if-range"];
  if (condition !== undefined && condition !== etag) return null;
  const ranges = parseRange(size, headers.range);
  if (ranges === -1) return "unsatisfiable";
  if (ranges === -2 || ranges.type !== "bytes" || ranges.length !== 1) return null;
  return ranges[0] ?? null;
}
