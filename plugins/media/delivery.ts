import type { FastifyReply, FastifyRequest } from "fastify";
import type { Context } from "../../src/context.ts";
import { type ServedObject, sendObject } from "../../src/http/objects.ts";
import type { DeliveredRendition } from "./store.ts";

/** Seconds for which a client may keep a picture without asking again. */
const MAX_AGE = 60;
/** Seconds for which an address in the store is good. Who may see a picture now was asked just before it was made. */
const ADDRESS_LIFETIME = 60;
/** Seconds for which a client may keep being sent to it, so that it is good for as long again then. */
const REDIRECT_LIFETIME = 30;

/** What of a rendition decides how it may be kept and sent on. */
type Right = Pick<DeliveredRendition, "is_public" | "seconds_left">;

/** No answer is kept for longer than its picture is there. @param most seconds. */
export function cacheControl({ is_public, seconds_left }: Right, most = MAX_AGE): string {
  return `${is_public ? "public" : "private"}, max-age=${Math.min(most, Math.floor(seconds_left ?? most))}`;
}

/**
 * Sends a picture to a viewer who may have it, in the way that is configured.
 * @returns whether it is there; if not, nothing was sent.
 */
export async function deliver(
  request: FastifyRequest,
  reply: FastifyReply,
  { config, media }: Pick<Context, "config" | "media">,
  object: ServedObject & Right,
): Promise<boolean> {
  const { by, accel_location } = config.delivery;
  const headers = { "content-type": object.content_type, "cache-control": cacheControl(object) };
  if (by === "serve") return sendObject(request, reply, media, object);

  const address = await media.address(object.key, {
    method: request.method === "HEAD" ? "HEAD" : "GET",
    // An address lives a second at least.
    seconds: Math.max(1, Math.min(ADDRESS_LIFETIME, Math.floor(object.seconds_left ?? ADDRESS_LIFETIME))),
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
    .headers({ location: address, "cache-control": cacheControl(object, REDIRECT_LIFETIME) })
    .send();
  return true;
}

/** What follows the slash behind the host. */
function pathOf(address: string): string {
  const { pathname, search } = new URL(address);
  return `${pathname.slice(1)}${search}`;
}
