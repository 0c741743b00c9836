import type { Logger } from "pino";
import type { Config } from "../config/schema.ts";
import type { App } from "./types.ts";

/**
 * Says once that there seems to be a proxy in front which is not known as one: then all who come through it have its
 * address, and the wrong passwords of any of them keep all of them from signing in. Anybody can send such a header, so it
 * is no more than a hint.
 */
export function warnOfProxies(app: App, log: Logger): void {
  let said = false;
  app.addHook("onRequest", (request, _reply, done) => {
    if (!said && request.headers["x-forwarded-for"] !== undefined) {
      said = true;
      log.warn(
        { address: request.socket.remoteAddress },
        "a request has X-Forwarded-For; if a proxy of yours sent it, set TINTYPE_HTTP_TRUST_PROXY to its address: until then all who come through it are one for the limits",
      );
    }
    done();
  });
}

/** Whether whoever goes to `public_url` arrives at something else than this server, which speaks no TLS. */
export function isBehindProxy({ public_url, port }: Pick<Config, "public_url" | "port">): boolean {
  const url = new URL(public_url);
  return url.protocol === "https:" || Number(url.port || 80) !== port;
}
