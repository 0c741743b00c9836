import fresh from "fresh";
import { Type } from "typebox";
import { validate as isUuid } from "uuid";
import type { Context } from "../../src/context.ts";
import { Id } from "../../src/http/ids.ts";
import type { App } from "../../src/http/types.ts";
import { readTicket } from "../tickets/index.ts";
import { RENDITION_NAMES } from "./decoder/protocol.ts";
import { cacheControl, deliver } from "./delivery.ts";
import { mediumNotFound } from "./errors.ts";
import { renditionKey } from "./keys.ts";
import { renditionFor } from "./store.ts";

const WEBP = { content: { "image/webp": { schema: Type.Any() } } };

const TICKET = "The ticket that the URL came with, where the owner's account is not public: it says who is looking";

/** `/media/:medium/:rendition.webp`, outside of /api/v1: an <img> sends no token. */
export async function mediaRoutes(app: App, context: Context): Promise<void> {
  const { db } = context;
  app.get(
    "/media/:medium/:file",
    {
      // A ticket that has not even the form of one is answered as any other wrong one.
      attachValidation: true,
      config: { anyQuery: true },
      schema: {
        summary: "A rendition, as WebP",
        description:
          "`:file` is thumbnail.webp, small.webp, medium.webp or large.webp. Ranges and If-None-Match work. Whoever may not see the picture now gets the 404 of one that is not there.",
        tags: ["Media"],
        params: Type.Object({ medium: Id(), file: Type.String() }),
        querystring: Type.Object({ t: Type.Optional(Type.String({ description: TICKET })) }),
        response: { 200: WEBP, 206: WEBP, 302: Type.Null(), 304: Type.Null(), 416: Type.Null() },
      },
    },
    async (request, reply) => {
      const { medium, file } = request.params;
      const name = RENDITION_NAMES.find((rendition) => `${rendition}.webp` === file);
      if (!name || !isUuid(medium)) throw mediumNotFound({});
      const found = await renditionFor(db, await readTicket({ db }, request.query.t), medium, name);
      if (!found) throw mediumNotFound({});

      const etag = `"${found.sha256.toString("base64url")}"`;
      reply.headers({
        etag,
        "cache-control": cacheControl(found),
        "cross-origin-resource-policy": "cross-origin",
      });
      // Of the headers this one alone: by `Cache-Control: no-cache`, which fetch adds to it, a client tells caches to ask
      // us, not us to send again what it has.
      if (fresh({ "if-none-match": request.headers["if-none-match"] }, { etag })) return reply.code(304).send(null);

      const key = renditionKey(medium, name, found.version);
      const object = { ...found, key, etag, content_type: "image/webp" };
      if (!(await deliver(request, reply, context, object))) throw mediumNotFound({});
      return reply;
    },
  );
}
