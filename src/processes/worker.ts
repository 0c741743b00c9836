import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { LoadedConfig } from "../config/load.ts";
import type { Context } from "../context.ts";
import { registry } from "../metrics.ts";
import { probe } from "../probe.ts";
import { VERSION } from "../version.ts";
import { type Features, runProcess, takeJobs } from "./run.ts";

/** `tintype worker`: takes jobs until it is told to stop. @returns the exit code. */
export function worker(loaded: LoadedConfig, features: Features): Promise<number> {
  return runProcess(loaded, "worker", features, async (running) => {
    const { config, context, log, onStop } = running;
    if (config.worker.port !== null) {
      const server = await listen(context, config.host, config.worker.port);
      onStop({
        name: "close the listener",
        timeout: 1_000,
        run: async () => {
          server.close();
          server.closeAllConnections();
        },
      });
    }
    await takeJobs(running, features);
    log.info({ version: VERSION, concurrency: config.worker.concurrency }, "taking jobs");
  });
}

/** /healthz, /readyz and /metrics of a process that serves nothing else. */
async function listen(context: Context, host: string, port: number): Promise<Server> {
  const server = createServer(async (request, response) => {
    const reply = (status: number, body: string, type = "application/json") =>
      response.writeHead(status, { "content-type": type }).end(body);
    switch (request.url) {
      case "/healthz":
        return reply(200, '{"status":"ok"}');
      case "/readyz": {
        const dependencies = await probe(context);
        const ready = Object.values(dependencies).every(({ state }) => state === "up");
        return reply(ready ? 200 : 503, JSON.stringify({ status: ready ? "ready" : "unavailable", dependencies }));
      }
      case "/metrics":
        return reply(200, await registry.metrics(), registry.contentType);
      default:
        return reply(404, '{"error":{"code":"ROUTE_NOT_FOUND"}}');
    }
  });
  server.listen(port, host);
  await once(server, "listening");
  return server;
}
