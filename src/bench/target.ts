import { isIPv4 } from "node:net";

/**
 * Whether load may be sent to this server: to one's own machine, or to a host that whoever asks says is theirs.
 * @param owned the host that they name.
 * @returns why not, for people; null if it may.
 */
export function refusalOfTarget(target: string, owned: string | undefined): string | null {
  const url = URL.canParse(target) ? new URL(target) : null;
  if (url?.protocol !== "http:" || url.pathname !== "/" || url.search !== "" || url.username !== "") {
    return `--target wants the origin of a server, such as http://127.0.0.1:3000, without TLS, and not ${target}.`;
  }
  if (isLoopback(url.hostname) || url.hostname === owned) return null;
  return (
    `--target ${url.hostname} is not this machine, and a load that is sent to somebody else's server is an attack. ` +
    `If it is yours, say so: --i-own-this-target ${url.hostname}`
  );
}

/** By its name alone: what a name stands for may change between the look and the load. */
function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" || (isIPv4(hostname) && hostname.startsWith("127."));
}
