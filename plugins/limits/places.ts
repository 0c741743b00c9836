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
  return ({ viewer, ip }: FastifyRequest, _reply: FastifyReply, done: () => void): void => {
    done();
    if (viewer === null) return;
    const use = `${viewer.session_id} ${ip}`;
    if (known.has(use)) return;
    known.set(use, true);
    rememberUse(db, viewer.session_id, placeOf(ip)).catch(complain);
  };
}
