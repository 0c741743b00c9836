import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { LoadedConfig } from "./config/load.ts";
import type { Context } from "./context.ts";
import { openDeps } from "./deps.ts";
import type { Feature } from "./feature.ts";
import { type Phase, shutDown, untilStopped } from "./lifecycle.ts";
import { createLogger } from "./log.ts";
import { collectProcessMetrics, registry } from "./metrics.ts";
import { probe } from "./probe.ts";
import { VERSION } from "./version.ts";

const CLOSE_TIMEOUT = 20_000;

/** `tintype worker`: takes jobs until it is told to stop. @returns the exit code. */
export async function work(
  loaded: LoadedConfig,
  { features, allFeatures }: { features: readonly Feature[]; allFeatures: readonly Feature[] },
): Promise<number> {
  const { config } = loaded;
  const log = createLogger(config.log, "stdout");
  const { stopped, stop } = untilStopped(log);
  let failed = false;
  const onLost = (error: Error) => {
    failed = true;
    log.fatal({ err: error }, "the embedded Postgres is gone");
    stop("the embedded Postgres is gone");
  };
  collectProcessMetrics();
  const deps = await openDeps({ config, log, role: "worker", features, allFeatures, onLost });
  const phases: Phase[] = [{ name: "close dependencies", timeout: CLOSE_TIMEOUT, run: deps.close }];
  try {
    const jobs = features.flatMap((feature) => feature.jobs ?? []);
    const stopWork = await deps.context.queue.work(jobs, deps.context);
    phases.unshift({
      name: "finish jobs",
      timeout: config.shutdown.timeout,
      run: () => stopWork(config.shutdown.timeout),
    });
    if (config.worker.port !== null) {
      const server = await listen(deps.context, config.host, config.worker.port);
      phases.push({
        name: "close the listener",
        timeout: 1_000,
        run: async () => server.closeAllConnections() ?? server.close(),
      });
    }
    log.info({ version: VERSION, jobs: jobs.map((job) => job.name) }, "taking jobs");
    log.info({ reason: await stopped }, "stopping");
  } catch (error) {
    await shutDown(phases, log);
    throw error;
  }
  const clean = await shutDown(phases, log);
  return clean && !failed ? 0 : 1;
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
