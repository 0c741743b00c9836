import type { IncomingMessage, ServerResponse } from "node:http";
import type { TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import type { FastifyInstance, RawServerDefault } from "fastify";
import type { Logger } from "pino";
import type { TSchema } from "typebox";

/** Who is signed in. */
export interface Viewer {
  id: string;
  username: string;
  session_id: string;
}

export type App = FastifyInstance<RawServerDefault, IncomingMessage, ServerResponse, Logger, TypeBoxTypeProvider>;

declare module "fastify" {
  interface FastifyRequest {
    /** Null only on routes whose config says `public`. Handlers of the others call `viewerOf(request)`. */
    viewer: Viewer | null;
  }
  interface FastifyContextConfig {
    /** Needs no Authorization header. */
    public?: boolean;
    /** Is answered as ever while the server is being stopped. */
    whileStopping?: boolean;
    /** Takes any query string, also one that no text could hold: nothing of it is stored or told. */
    anyQuery?: boolean;
    /** The form that the route reads by itself, for the documentation: Fastify sees no body of it. */
    form?: TSchema;
  }
}
