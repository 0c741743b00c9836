import type { IncomingMessage, ServerResponse } from "node:http";
import type { TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import type { FastifyInstance, RawServerDefault } from "fastify";
import type { Logger } from "pino";
import type { TSchema } from "typebox";
import type { Claim, StoredAnswer } from "./idempotency-store.ts";

/** Who is signed in. */
export interface Viewer {
  id: string;
  username: string;
  session_id: string;
}

/** What a POST knows of its Idempotency-Key. */
export interface KeyedRequest {
  /** An answer is stored and will be given again, or the body is another: in no case anything is done. */
  readonly replays: boolean;
  readonly stored: StoredAnswer | null;
  /** Null where the answer is stored already. */
  readonly claim: Claim | null;
  /** Makes the fingerprint of what was sent. */
  readonly sign: (content: string) => Buffer;
  /** Null until all of the body is there. */
  fingerprint: Buffer | null;
  /** It was refused for what may be mended; then the same request is to be taken. */
  passes: boolean;
  /** The body of an answer that its work has stored. */
  kept: string | null;
  /** Another request has the key now. */
  lost: boolean;
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
    /** Null where the request has no Idempotency-Key. */
    idempotency: KeyedRequest | null;
    /** Bytes of a body that the route reads by itself, as many as have come. */
    arrived?: number;
  }
  interface FastifyContextConfig {
    /** Needs no Authorization header. */
    public?: boolean;
    /** A POST that takes no Idempotency-Key: what it gives is a secret, or good once. */
    withoutIdempotencyKey?: boolean;
    /** Its body holds a password: a fingerprint of it must be as dear to guess. */
    secretBody?: boolean;
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
