import http from "node:http";
import https from "node:https";

/** Milliseconds that a call may take in all, however alive the store is. */
const CALL_DEADLINE = 60_000;
/** One that sends an object: so much, and a second a MiB. A store may answer others and take no writes. */
const PUT_DEADLINE = 6_000;

function deadlineOf({ method, headers }: http.RequestOptions): number {
  if (method !== "PUT" || !headers || !("content-length" in headers)) return CALL_DEADLINE;
  return PUT_DEADLINE + Math.ceil((Number(headers["content-length"]) / 2 ** 20) * 1_000);
}

/** The store sent nothing, and took nothing, for too long. */
export class SilenceError extends Error {
  constructor(milliseconds: number) {
    super(`no sign of life for ${milliseconds} ms`);
    this.name = "SilenceError";
  }
}

export interface TransportOptions {
  /** Milliseconds without a byte in either direction, from connecting to the last byte of the answer. */
  silence: number;
  /**
   * Asked when a call has been silent for half of that: whether the store answers others. What a slow way has taken into
   * its buffers may be long in arriving, and looks the same. Without it silence alone ends a call.
   */
  isAlive?: () => Promise<boolean>;
  /** Whether the answer is an object, whose reader may take its time: `readingOf` watches over it then. */
  download?: boolean;
}

/** What the client sends its requests through: connections that are kept, and an end to calls. The client knows no time. */
export function createTransport(
  protocol: "http:" | "https:",
  { silence, isAlive, download = false }: TransportOptions,
): { transport: Pick<typeof https, "request">; close(): void } {
  const { request, Agent } = protocol === "https:" ? https : http;
  const agent = new Agent({ keepAlive: true });
  const send = (options: http.RequestOptions, onResponse?: (response: http.IncomingMessage) => void) => {
    const timeout = isAlive ? silence / 2 : silence;
    const sent = request({
      ...options,
      agent,
      timeout,
      ...(download ? {} : { signal: AbortSignal.timeout(deadlineOf(options)) }),
    });
    sent.on("timeout", async () => {
      if (isAlive && (await isAlive())) sent.setTimeout(timeout);
      else sent.destroy(new SilenceError(silence));
    });
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
