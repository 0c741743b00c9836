import http from "node:http";
import https from "node:https";

/** Milliseconds that a call may take in all, however steadily it drips: 8 MiB at 70 KB/s. */
const CALL_DEADLINE = 120_000;

/** The store sent nothing, and took nothing, for too long. */
export class SilenceError extends Error {
  constructor(milliseconds: number) {
    super(`no sign of life for ${milliseconds} ms`);
    this.name = "SilenceError";
  }
}

/**
 * What the client sends its requests through: connections that are kept, and an end to those on which nothing moves, from
 * connecting to the last byte of the answer. The client itself has no time limits.
 * @param silence milliseconds without a byte in either direction.
 * @param download whether the answer is an object, whose reader may take its time: `readingOf` watches over it then.
 */
export function createTransport(
  protocol: "http:" | "https:",
  { silence, download }: { silence: number; download: boolean },
): { transport: Pick<typeof https, "request">; close(): void } {
  const { request, Agent } = protocol === "https:" ? https : http;
  const agent = new Agent({ keepAlive: true });
  const send = (options: http.RequestOptions, onResponse?: (response: http.IncomingMessage) => void) => {
    const sent = request({
      ...options,
      agent,
      timeout: silence,
      ...(download ? {} : { signal: AbortSignal.timeout(CALL_DEADLINE) }),
    });
    sent.on("timeout", () => sent.destroy(new SilenceError(silence)));
    sent.on("response", (response) => {
      // The client throws these away unread, and with them the connection would stay taken.
      if ((response.statusCode ?? 0) >= 500 || response.statusCode === 429) response.resume();
      else if (download) response.socket.setTimeout(0);
      onResponse?.(response);
    });
    return sent;
  };
  return { transport: { request: send as typeof https.request }, close: () => agent.destroy() };
}
