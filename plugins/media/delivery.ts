import type { FastifyReply, FastifyRequest } from "fastify";
import type { Context } from "../../src/context.ts";
import { type ServedObject, sendObject } from "../../src/http/objects.ts";

/** Seconds for which an address in the store is good. Who may see a picture now was asked just before it was made. */
const ADDRESS_LIFETIME = 60;
/** Seconds for which a client may keep being sent to it, so that it is good for as long again then. */
const REDIRECT_LIFETIME = 30;

/**
 * Sends a picture to a viewer who may have it, in the way that is configured.
 * @returns whether it is there; if not, nothing was sent.
 */
export async function deliver(
  request: FastifyRequest,
  reply: FastifyReply,
  { config, media }: Pick<Context, "config" | "media">,
  object: ServedObject & { is_public: boolean },
): Promise<boolean> {
  const { by, accel_location } = config.delivery;
  const scope = object.is_public ? "public" : "private";
  const headers = { "content-type": object.content_type, "cache-control": `${scope}, max-age=60` };
  if (by === "serve") return sendObject(request, reply, media, object);

  const address = await media.address(object.key, {
    method: request.method === "HEAD" ? "HEAD" : "GET",
    seconds: ADDRESS_LIFETIME,
    reader: by === "redirect" ? "client" : "proxy",
    headers,
  });
  if (by === "accel") {
    const path = address === null ? object.key : pathOf(address);
    reply.type(object.content_type).header("x-accel-redirect", `${accel_location}${path}`).send();
    return true;
  }
  // Not in the store with addresses yet.
  if (address === null) return sendObject(request, reply, media, object);
  reply.removeHeader("etag");
  reply
    .code(302)
    .headers({ location: address, "cache-control": `${scope}, max-age=${REDIRECT_LIFETIME}` })
    .send();
  return true;
}

/** What follows the slash behind the host. */
function pathOf(address: string): string {
  const { pathname, search } = new URL(address);
  return `${pathname.slice(1)}${search}`;
}
