import type { AddressInfo } from "node:net";
import { ConfigError } from "../errors.ts";
import type { App } from "../http/types.ts";

/**
 * Listens, and says what to do where that cannot be.
 * @returns the port, which is another than the one given if that was 0.
 * @throws ConfigError when the address is taken, unknown or not allowed.
 */
export async function listen(app: App, host: string, port: number): Promise<number> {
  try {
    await app.listen({ host, port });
  } catch (error) {
    throw explain(error, host, port);
  }
  return (app.server.address() as AddressInfo).port;
}

function explain(error: unknown, host: string, port: number): unknown {
  if (!(error instanceof Error) || !("code" in error)) return error;
  switch (error.code) {
    case "EADDRINUSE":
      return new ConfigError(`port ${port} on ${host} is taken by another program`, {
        hint: "Stop it, or choose another port: tintype serve --port 3001 (for a worker TINTYPE_WORKER_PORT)",
      });
    case "EACCES":
      return new ConfigError(`this user may not listen at port ${port}`, { hint: "Choose a port above 1023." });
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return new ConfigError(`${host} is no address of this machine`, {
        hint: "Set TINTYPE_HOST to one of its own: 127.0.0.1 for itself alone, 0.0.0.0 for every network.",
      });
    default:
      return error;
  }
}
