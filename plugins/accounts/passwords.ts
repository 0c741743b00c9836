import { availableParallelism } from "node:os";
import { hash, verify } from "@node-rs/argon2";
import pLimit from "p-limit";
import { unavailable } from "../../src/http/errors.ts";

/** OWASP Password Storage Cheat Sheet, argon2id: 19 MiB, two passes, one lane. About 8 ms on one core. Argon2id is the package's default. */
const PARAMETERS = { memoryCost: 19_456, timeCost: 2, parallelism: 1 };

/** Hashing shares Node's four threads with file reads; a storm of logins must leave some of them for pictures. */
const limit = pLimit(Math.max(1, Math.min(2, availableParallelism())));

/** Hashes that may wait for their turn, some two seconds' worth; more are refused, or a flood would hold up everybody. */
const QUEUE_LIMIT = 256;

/** Compared with when there is no such user, so that the answer costs the same. */
const nobody = limit(() => hash("nobody has this password", PARAMETERS));

/** @returns a PHC string. */
export function hashPassword(password: string): Promise<string> {
  return inTurn(() => hash(normalize(password), PARAMETERS));
}

/** @param stored the PHC string of the user, or null for no such user: false, at the same cost. */
export async function verifyPassword(stored: string | null, password: string): Promise<boolean> {
  const reference = stored ?? (await nobody);
  const matches = await inTurn(() => verify(reference, normalize(password)));
  return stored !== null && matches;
}

/** The same letters may be typed as different code points on different keyboards (NIST SP 800-63B). */
function normalize(password: string): string {
  return password.normalize("NFKC");
}

/** @throws 503 when too many wait. */
async function inTurn<T>(work: () => Promise<T>): Promise<T> {
  if (limit.pendingCount >= QUEUE_LIMIT) throw unavailable({}, { retryAfter: 1 });
  return limit(work);
}
