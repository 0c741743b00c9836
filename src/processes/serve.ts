import { defaultPublicUrl, type LoadedConfig } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import { buildApp } from "../http/app.ts";
import { VERSION } from "../version.ts";
import { listen } from "./listen.ts";
import { type Features, runProcess, takeJobs } from "./run.ts";

/** `tintype serve`: answers requests, and takes jobs where it is told to, until it is stopped. @returns the exit code. */
export function serve(loaded: LoadedConfig, features: Features): Promise<number> {
  return runProcess(loaded, "serve", features, async (running) => {
    const { config, context, database, log, onStop } = running;
    if (config.worker.embedded) await takeJobs(running, features);
    else log.info("jobs are left to `tintype worker`");
    const app = await buildApp(context, features.features);
    onStop({ name: "answer what is in flight", timeout: config.shutdown.timeout, run: () => app.close() });
    const port = await listen(app, config.host, config.port);
    // Port 0 is known only now; URLs in answers must name the real one.
    if (loaded.sources.public_url === "default") config.public_url = defaultPublicUrl(config.host, port);
    const { host, public_url, data_dir } = config;
    log.info({ version: VERSION, host, port, public_url, data_dir }, "listening");
    if (process.stdout.isTTY) process.stdout.write(greeting(config, database.embedded !== null));
  });
}

function greeting({ public_url, data_dir, s3, worker }: Config, embedded: boolean): string {
  return `
  Tintype ${VERSION}

  API       ${public_url}/api/v1
  Docs      ${public_url}/docs
  Data      ${data_dir}
  Engines   ${embedded ? "embedded Postgres" : "your Postgres"}, media ${s3.endpoint === null ? "on disk" : `at ${s3.endpoint}`}
  Worker    ${worker.embedded ? "inside" : "none here: pictures wait for `tintype worker`"}

  Next, in another terminal:

    curl -s ${public_url}/api/v1/auth/register -H 'content-type: application/json' \\
      -d '{"username":"ana","email":"ana@example.org","password":"a long password"}'

  Ctrl-C stops it; nothing is lost.

`;
}
