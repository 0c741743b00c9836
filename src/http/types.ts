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

/** What may be limited; the feature limits says how each of them is. */
export type LimitName =
  | "follow"
  | "post"
  | "like"
  | "comment"
  | "login"
  | "password"
  | "registration"
  | "recovery"
  | "search"
  | "upload";

declare module "fastify" {
  interface FastifyRequest {
    /** Null only on routes whose config says `public`. Handlers of the others call `viewerOf(request)`. */
    viewer: Viewer | null;
    /** Set where the answer is one that was given before: no work is done for it. */
    replayed?: boolean;
    /** Bytes of a body that the route reads by itself, as many as have come. */
    arrived?: number;
  }
  interface FastifyContextConfig {
    /** Needs no Authorization header. */
    public?: boolean;
    /** Is answered as ever while the server is being stopped. */
    whileStopping?: boolean;
    /** Takes any query string, also one that no text could hold: nothing of it is stored or told. */
    anyQuery?: boolean;
    /** How often it may be called; of several limits the first is told while none is reached. */
    limit?: LimitName | readonly LimitName[];
    /** The most bytes that a body may have which the route reads by itself. */
    largestBody?: number;
    /** The form that the route reads by itself, for the documentation: Fastify sees no body of it. */
    form?: TSchema;
  }
}
