import type { LoadedConfig } from "../config/load.ts";
import { buildOperationsApp } from "../http/app.ts";
import { VERSION } from "../version.ts";
import { listen } from "./listen.ts";
import { type Features, runProcess, takeJobs } from "./run.ts";

/** `tintype worker`: takes jobs until it is told to stop. @returns the exit code. */
export function worker(loaded: LoadedConfig, features: Features): Promise<number> {
  return runProcess(loaded, "worker", features, async (running) => {
    const { config, context, log, onStop } = running;
    let port: number | null = null;
    if (config.worker.port !== null) {
      const app = await buildOperationsApp(context, features.features);
      onStop({ name: "close the listener", timeout: 1_000, run: () => app.close() });
      port = await listen(app, config.host, config.worker.port);
    }
    await takeJobs(running, features);
    log.info({ version: VERSION, concurrency: config.worker.concurrency, port }, "taking jobs");
  });
}
