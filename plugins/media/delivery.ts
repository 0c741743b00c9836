import type { FastifyReply, FastifyRequest } from "fastify";
import type { Context } from "../../src/context.ts";
import { type ServedObject, sendObject } from "../../src/http/objects.ts";
import type { DeliveredRendition } from "./store.ts";

/** Seconds for which a client may keep a picture without asking again. */
const MAX_AGE = 60;
/** Seconds for which an address in the store is good. Who may see a picture now was asked just before it was made. */
const ADDRESS_LIFETIME = 60;
/** Seconds that an address is good for at least: its time begins with a whole second, and the client has yet to follow it. */
const SHORTEST_ADDRESS = 2;

/** What of a rendition decides how it may be kept and sent on. */
type Right = Pick<DeliveredRendition, "is_public" | "seconds_left" | "asked_at">;

/** No answer is kept for longer than its picture is there. @param most seconds. */
export function cacheControl({ is_public, seconds_left }: Omit<Right, "asked_at">, most = MAX_AGE): string {
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
  if (by === "serve") return sendObject(request, reply, media, object);

  const addressFor = (reader: "client" | "proxy", seconds: number, cached: string) =>
    media.address(object.key, {
      method: request.method === "HEAD" ? "HEAD" : "GET",
      from: object.asked_at,
      seconds,
      reader,
      headers: { "content-type": object.content_type, "cache-control": cached },
    });
  if (by === "accel") {
    // Nobody outside is told of it, and the proxy follows it at once.
    const address = await addressFor("proxy", ADDRESS_LIFETIME, cacheControl(object));
    const path = address === null ? object.key : pathOf(address);
    reply.type(object.content_type).header("x-accel-redirect", `${accel_location}${path}`).send();
    return true;
  }
  // What a client fetches with the last of an address it may keep for as long again: both are over before the picture is.
  const half = Math.floor((object.seconds_left ?? Number.POSITIVE_INFINITY) / 2);
  const seconds = Math.min(ADDRESS_LIFETIME, half);
  const address =
    seconds < SHORTEST_ADDRESS
      ? null
      : await addressFor("client", seconds, cacheControl(object, Math.min(MAX_AGE, half)));
  // Or not in the store with addresses yet.
  if (address === null) return sendObject(request, reply, media, object);
  reply.removeHeader("etag");
  // For half its time: whoever is sent to it then has as long to follow.
  const headers = { location: address, "cache-control": cacheControl(object, Math.floor(seconds / 2)) };
  reply.code(302).headers(headers).send();
  return true;
}

/** What follows the slash behind the host. */
function pathOf(address: string): string {
  const { pathname, search } = new URL(address);
  return `${pathname.slice(1)}${search}`;
}
