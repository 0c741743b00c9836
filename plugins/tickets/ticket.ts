import { createHmac, type KeyObject, timingSafeEqual } from "node:crypto";
import { stringify } from "uuid";

export interface TicketKey {
  id: number;
  /** 32 bytes. Not a Buffer, of which every ticket would make a key first: alone, 12 of the 20 µs that it took. */
  secret: KeyObject;
}

/** What says that it is a ticket. Nothing of it is believed before `verifyTicket`. */
export interface ClaimedTicket {
  /** Of the key that it says it was signed with. */
  key_id: number;
  bytes: Buffer;
}

/** Milliseconds. All tickets of a viewer in one window are the same, so that caches see one URL a picture. */
export const WINDOW = 15 * 60_000;
/** A ticket is good for its window and the next: 15 to 30 minutes. */
export const LIFETIME = 2 * WINDOW;
/** Milliseconds by which a server may be ahead of another: all go by the database's clock, as soon as they have its answer. */
const SKEW = 10_000;

const SIGNED_BYTES = 24;
/** 144 of the 256 bits; with them a ticket is 42 bytes, a multiple of three, so that no other text means the same. */
const MAC_BYTES = 18;
const TEXT = /^[\w-]{56}$/;

/** A window's number, counted from the epoch. @param now in milliseconds of the epoch, and so below. */
export function windowOf(now: number): number {
  return Math.floor(now / WINDOW);
}

/** Key (4 bytes), window (4), viewer (16), HMAC-SHA256 of these (18), in base64url. */
export function signTicket(key: TicketKey, viewerId: string, window: number): string {
  const bytes = Buffer.alloc(SIGNED_BYTES + MAC_BYTES);
  bytes.writeUInt32BE(key.id, 0);
  bytes.writeUInt32BE(window, 4);
  bytes.write(viewerId.replaceAll("-", ""), 8, "hex");
  bytes.set(macOf(key, bytes.subarray(0, SIGNED_BYTES)), SIGNED_BYTES);
  return bytes.toString("base64url");
}

/** @param text whatever a query string held. @returns null for what has not the form of a ticket. */
export function parseTicket(text: unknown): ClaimedTicket | null {
  if (typeof text !== "string" || !TEXT.test(text)) return null;
  const bytes = Buffer.from(text, "base64url");
  return { key_id: bytes.readUInt32BE(0), bytes };
}

/** @returns the viewer's id; null when the ticket is altered or its time is not now. How long it takes tells nothing. */
export function verifyTicket(key: TicketKey, { bytes }: ClaimedTicket, now: number): string | null {
  const signed = bytes.subarray(0, SIGNED_BYTES);
  if (!timingSafeEqual(bytes.subarray(SIGNED_BYTES), macOf(key, signed))) return null;
  const begin = signed.readUInt32BE(4) * WINDOW;
  return now >= begin - SKEW && now < begin + LIFETIME ? stringify(signed, 8) : null;
}

function macOf(key: TicketKey, signed: Buffer): Buffer {
  return createHmac("sha256", key.secret).update(signed).digest().subarray(0, MAC_BYTES);
}
