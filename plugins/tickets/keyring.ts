import { createSecretKey, randomBytes } from "node:crypto";
import type { Context } from "../../src/context.ts";
import { type Db, inTransaction } from "../../src/db/transaction.ts";
import { deleteExpiredKeys, expireOthers, insertKey, lockKeys, validKeys } from "./store.ts";
import { LIFETIME, parseTicket, signTicket, type TicketKey, verifyTicket, windowOf } from "./ticket.ts";

type RingContext = Pick<Context, "db">;

/** Milliseconds after which keys are read again, while those that are known go on being used. */
const REFRESH = 5_000;
/** Milliseconds for which keys that were read are believed: so late a server may learn of a rotation. */
export const BELIEVED = 10_000;

/** Keys as they were read once. */
interface Keys {
  /** The newest first. */
  keys: TicketKey[];
  /** When they were asked for, by the process' own clock, which never goes back. */
  asked_at: number;
  /** Milliseconds from that clock to the database's, by which all servers agree on the window. */
  offset: number;
}

/** Tickets of one key and window, by viewer. */
interface Signed {
  key_id: number;
  window: number;
  /** Who comes is moved to the newer generation; when that is full the older one goes, with who did not come for long. */
  newer: Map<string, string>;
  older: Map<string, string>;
}

/** Of one generation, some 300 bytes each. */
const MOST_SIGNED = 10_000;

interface Keyring {
  known: Keys | null;
  /** One read for all who want one. */
  reading: Promise<Keys> | null;
  /** Measured: to sign for each answer anew costs some 4 % of a feed page more (docs/benchmarks.md). */
  signed: Signed;
}

const rings = new WeakMap<Db, Keyring>();

/**
 * What gives a viewer's ticket of this moment. While the database does not answer it signs with the last key that was
 * known, however old: a ticket of one that was revoked meanwhile is only refused.
 */
export async function ticketSigner({ db }: RingContext): Promise<(viewerId: string) => string> {
  const ring = ringOf(db);
  const read = await believedKeys(db, ring).catch((error: unknown) => {
    if (ring.known === null) throw error;
    return ring.known;
  });
  const [key] = read.keys;
  if (!key) throw new Error("there is no key for tickets; `tintype keys rotate` makes one");
  const window = windowOf(nowOf(read));
  return (viewerId) => signedOnce(ring, key, window, viewerId);
}

/**
 * @param text whatever a query string held.
 * @returns the viewer that a ticket names; null when it is missing, altered or too old.
 * @throws when the keys were last read longer ago than BELIEVED and cannot be read: a revoked one might be among them.
 */
export async function readTicket({ db }: RingContext, text: unknown): Promise<string | null> {
  const ticket = parseTicket(text);
  if (ticket === null) return null;
  const ring = ringOf(db);
  let read = await believedKeys(db, ring);
  // Ids rise: a key that is newer than all that are known may just have been made, any other one is gone.
  if (ticket.key_id > (read.keys[0]?.id ?? 0)) read = await keysFromNow(db, ring);
  const key = read.keys.find(({ id }) => id === ticket.key_id);
  return key ? verifyTicket(key, ticket, nowOf(read)) : null;
}

/**
 * Makes a new key. Tickets of the older ones stay good as long as they would have been, for which a server that learns of
 * this late is allowed too; with `revoke` they are refused, on every server within BELIEVED.
 */
export async function rotateKeys(db: Db, { revoke }: { revoke: boolean }): Promise<{ id: number; retired: number }> {
  return inTransaction(db, async (tx) => {
    await lockKeys(tx);
    await deleteExpiredKeys(tx);
    const { id } = await insertKey(tx, randomBytes(32));
    return { id, retired: await expireOthers(tx, id, revoke ? 0 : LIFETIME + BELIEVED) };
  });
}

function ringOf(db: Db): Keyring {
  const known = rings.get(db);
  if (known) return known;
  const ring: Keyring = { known: null, reading: null, signed: noneSigned(0, 0) };
  rings.set(db, ring);
  return ring;
}

function noneSigned(key_id: number, window: number): Signed {
  return { key_id, window, newer: new Map(), older: new Map() };
}

function signedOnce(ring: Keyring, key: TicketKey, window: number, viewerId: string): string {
  if (ring.signed.key_id !== key.id || ring.signed.window !== window) ring.signed = noneSigned(key.id, window);
  const { signed } = ring;
  const known = signed.newer.get(viewerId);
  if (known !== undefined) return known;
  const ticket = signed.older.get(viewerId) ?? signTicket(key, viewerId, window);
  if (signed.newer.size >= MOST_SIGNED) {
    signed.older = signed.newer;
    signed.newer = new Map();
  }
  signed.newer.set(viewerId, ticket);
  return ticket;
}

/** Those that are known, if not too old; nobody waits for a database that hangs as long as they are believed. */
async function believedKeys(db: Db, ring: Keyring): Promise<Keys> {
  const age = performance.now() - (ring.known?.asked_at ?? Number.NEGATIVE_INFINITY);
  if (ring.known === null || age >= BELIEVED) return readKeys(db, ring);
  // Who comes next tries again.
  if (age >= REFRESH) readKeys(db, ring).catch(() => undefined);
  return ring.known;
}

/** Keys as they are now or later. At most one read is under way, and one waits, however many ask. */
async function keysFromNow(db: Db, ring: Keyring): Promise<Keys> {
  await ring.reading?.catch(() => undefined);
  return readKeys(db, ring);
}

function readKeys(db: Db, ring: Keyring): Promise<Keys> {
  ring.reading ??= read(db)
    .then((keys) => {
      ring.known = keys;
      return keys;
    })
    .finally(() => {
      ring.reading = null;
    });
  return ring.reading;
}

async function read(db: Db): Promise<Keys> {
  const asked_at = performance.now();
  const rows = await validKeys(db);
  // An answer that was long on its way makes this server late by as much, never early.
  const offset = (rows[0]?.read_at.getTime() ?? 0) - performance.now();
  const keys = rows.map(({ id, secret }) => ({ id, secret: createSecretKey(secret) }));
  return { keys, asked_at, offset };
}

function nowOf({ offset }: Keys): number {
  return performance.now() + offset;
}
