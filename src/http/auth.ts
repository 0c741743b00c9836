import type { FastifyRequest } from "fastify";
import type { Context } from "../context.ts";
import type { Feature } from "../feature.ts";
import { unauthenticated } from "./errors.ts";
import type { App, Viewer } from "./types.ts";

const BEARER = /^Bearer +([\w~+/.-]+=*)$/i;

/** Every route below this scope needs a bearer token, but those whose config says `public`. */
export function requireAuthentication(app: App, context: Context, features: readonly Feature[]): void {
  const [authenticate, ...others] = features.flatMap((feature) => feature.authenticate ?? []);
  if (!authenticate || others.length > 0) throw new Error("exactly one feature must say who a token is");

  app.addHook("onRequest", async (request, reply) => {
    if (request.routeOptions.config.public || request.is404) return;
    const token = BEARER.exec(request.headers.authorization ?? "")?.[1];
    request.viewer = token === undefined ? null : await authenticate(context, token);
    if (request.viewer === null) {
      reply.header("www-authenticate", 'Bearer realm="tintype"');
      throw unauthenticated({});
    }
  });
}

/** The signed-in viewer of a route that needs one. */
export function viewerOf(request: FastifyRequest): Viewer {
  if (request.viewer === null) throw unauthenticated({});
  return request.viewer;
}
