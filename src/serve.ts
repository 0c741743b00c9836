import { defaultPublicUrl, type LoadedConfig } from "./config/load.ts";
import { openDeps } from "./deps.ts";
import { ConfigError } from "./errors.ts";
import type { Feature } from "./feature.ts";
import { buildApp } from "./http/app.ts";
import type { App } from "./http/types.ts";
import { type Phase, shutDown, untilStopped } from "./lifecycle.ts";
import { createLogger } from "./log.ts";
import { collectProcessMetrics } from "./metrics.ts";
import { VERSION } from "./version.ts";

/** Seconds of the shutdown's time that the last phases (queue, database, embedded Postgres) may take together. */
const CLOSE_TIMEOUT = 20_000;

/** `tintype serve`: listens until it is told to stop. @returns the exit code. */
export async function serve(
  loaded: LoadedConfig,
  { features, allFeatures }: { features: readonly Feature[]; allFeatures: readonly Feature[] },
): Promise<number> {
  const log = createLogger(loaded.config.log, "stdout");
  const { stopped, stop } = untilStopped(log);
  let failed = false;
  const onLost = (error: Error) => {
    failed = true;
    log.fatal({ err: error }, "the embedded Postgres is gone");
    stop("the embedded Postgres is gone");
  };
  collectProcessMetrics();
  const config = { ...loaded.config };
  const deps = await openDeps({ config, log, role: "serve", features, allFeatures, onLost });

  const phases: Phase[] = [{ name: "close dependencies", timeout: CLOSE_TIMEOUT, run: deps.close }];
  try {
    if (config.worker.embedded) {
      const jobs = features.flatMap((feature) => feature.jobs ?? []);
      const stopWork = await deps.context.queue.work(jobs, deps.context);
      phases.unshift({
        name: "finish jobs",
        timeout: config.shutdown.timeout,
        run: () => stopWork(config.shutdown.timeout),
      });
    }
    const app = await buildApp(deps.context, features);
    phases.unshift({ name: "answer what is in flight", timeout: config.shutdown.timeout, run: () => app.close() });
    await listen(app, config);
    // Port 0 is known only now; URLs in answers must name the real one.
    if (loaded.sources.public_url === "default") config.public_url = defaultPublicUrl(config.host, portOf(app));
    welcome(app, deps.database.embedded !== null);
    log.info({ reason: await stopped }, "stopping");
  } catch (error) {
    await shutDown(phases, log);
    throw error;
  }
  const clean = await shutDown(phases, log);
  return clean && !failed ? 0 : 1;

  function welcome(server: App, embedded: boolean): void {
    const { port } = { port: portOf(server) };
    log.info(
      { version: VERSION, host: config.host, port, public_url: config.public_url, data_dir: config.data_dir },
      "listening",
    );
    if (process.stdout.isTTY) process.stdout.write(greeting({ ...config, embedded }));
  }
}

async function listen(app: App, { host, port }: { host: string; port: number }): Promise<void> {
  try {
    await app.listen({ host, port });
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : "";
    if (code === "EADDRINUSE") {
      throw new ConfigError(`port ${port} on ${host} is taken by another program`, {
        hint: "Stop it, or choose another port: tintype serve --port 3001",
      });
    }
    if (code === "EACCES" || code === "EADDRNOTAVAIL") {
      throw new ConfigError(`cannot listen at ${host}:${port}: ${error instanceof Error ? error.message : error}`, {
        hint: "Choose another TINTYPE_HOST or TINTYPE_PORT.",
      });
    }
    throw error;
  }
}

function portOf(app: App): number {
  const address = app.server.address();
  return typeof address === "object" && address ? address.port : 0;
}

function greeting(shown: { public_url: string; data_dir: string; embedded: boolean }): string {
  const { public_url, data_dir, embedded } = shown;
  return `
  Tintype ${VERSION}

  API       ${public_url}/api/v1
  Docs      ${public_url}/docs
  Data      ${data_dir}
  Engines   ${embedded ? "Postgres (embedded), media on disk, worker inside" : "your Postgres, media on disk"}

  Next, in another terminal:

    curl -s ${public_url}/api/v1/auth/register -H 'content-type: application/json' \\
      -d '{"username":"ana","email":"ana@example.org","password":"a long password"}'

  Ctrl-C stops it; nothing is lost.

`;
}
