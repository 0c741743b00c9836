import { createHash } from "node:crypto";
import ipaddr from "ipaddr.js";
import type { Subject } from "./limiter.ts";

/** Bits of an IPv6 address that one household has: with all of them everybody would have 2^64 addresses. */
const HOUSEHOLD = 64;

/** Some proxies tell the port too, which is another for each connection. */
const WITH_PORT = /^(?:([\d.]+)|\[([^\]]*)\])(?::\d+)?$/;

/** Without port and zone. */
function bare(address: string): string {
  const [, ipv4, ipv6] = WITH_PORT.exec(address) ?? [];
  return (ipv4 ?? ipv6 ?? address).split("%")[0] ?? "";
}

/**
 * An address as limits know it: IPv4 whole, also where it is written as IPv6, and of IPv6 the first half, as in
 * `2001:db8:0:1::/64`. What a proxy tells that is no address stays as it is, cut. A connection that is closed by now has
 * none, whatever Fastify's types say.
 */
export function placeOf(address: string | undefined): string {
  if (address === undefined) return "";
  const text = bare(address);
  if (!ipaddr.isValid(text)) return address.slice(0, 64);
  const parsed = ipaddr.process(text);
  if (parsed.kind() === "ipv4") return parsed.toString();
  return `${ipaddr.IPv6.networkAddressFromCIDR(`${parsed.toString()}/${HOUSEHOLD}`).toString()}/${HOUSEHOLD}`;
}

/** Whether it is the machine that the server runs on. */
export function isOwnMachine(address: string | undefined): boolean {
  if (address === undefined) return false;
  const text = bare(address);
  return ipaddr.isValid(text) && ipaddr.process(text).range() === "loopback";
}

export function subjectOfAddress(address: string | undefined): Subject {
  return hashed(`address ${placeOf(address)}`);
}

/**
 * All spellings by which Postgres finds one account are one: its lower() makes an i of İ, which JavaScript does not, and what
 * it does depends on the database. So more is taken for the same than is.
 * @param login a name or an email, as it was typed.
 */
export function subjectOfLogin(login: string): Subject {
  const folded = login
    .trim()
    .toLowerCase()
    .normalize("NFKD")
    .replace(/\p{Mark}/gu, "")
    .toUpperCase()
    .toLowerCase();
  return hashed(`login ${folded}`);
}

/** Who tries which name from where is nobody's business who looks at keys; and it ends in two hexadecimal digits. */
function hashed(text: string): Subject {
  return createHash("sha256").update(text).digest("hex").slice(0, 32);
}
