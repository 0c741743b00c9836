import type { FastifyReply, FastifyRequest } from "fastify";
import { LRUCache } from "lru-cache";
import type { Context } from "../../src/context.ts";
import { oncePer } from "../../src/log.ts";
import { rememberUse } from "./store.ts";
import { placeOf } from "./subjects.ts";

/** Milliseconds for which a use of the same session from the same address is no news. */
const KNOWN_FOR = 3_600_000;
/** Of 150 bytes each; of more than so many some are told again to the database, which then changes nothing. */
const MOST_KNOWN = 50_000;

/**
 * Remembers from where people use their sessions, as it is remembered where they sign in: who stays signed in for months
 * may not be taken for a stranger. No request waits for it.
 */
export function placeKeeper({ db, log }: Pick<Context, "db" | "log">) {
  const known = new LRUCache<string, true>({ max: MOST_KNOWN, ttl: KNOWN_FOR });
  const complain = oncePer(10_000, (error: unknown) => log.warn({ err: error }, "addresses of sessions"));
  const note = (sessionId: string, ip: string) => {
    const use = `${sessionId} ${ip}`;
    if (known.has(use)) return;
    known.set(use, true);
    // What was not remembered is told by the next request.
    rememberUse(db, sessionId, placeOf(ip)).then(
      (done) => done || known.delete(use),
      (error: unknown) => {
        known.delete(use);
        complain(error);
      },
    );
  };
  return ({ viewer, ip }: FastifyRequest, _reply: FastifyReply, done: () => void): void => {
    // Of a connection that is closed by now nothing tells the address.
    if (viewer !== null && ip !== undefined) note(viewer.session_id, ip);
    done();
  };
}
