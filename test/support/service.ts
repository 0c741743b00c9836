import { type Client, createClient } from "./client.ts";
import { contractOf } from "./contract.ts";
import { testDatabase } from "./database.ts";
import { type Server, startServer, temporaryFolder } from "./server.ts";

/** A whole service in one process: server and worker, on a database and a data dir of its own. */
export interface Service {
  server: Server;
  /** Its 2xx answers are held to /openapi.json. */
  client: Client;
  /** What the processes were started with: for further commands on the same service. */
  env: Record<string, string>;
  dataDir: string;
  databaseUrl: string;
}

/** Starts a service, which ends with the test. @param settings further TINTYPE_* variables. */
export async function startService(
  t: { teardown(end: () => unknown): void },
  settings: Record<string, string> = {},
): Promise<Service> {
  const { url: databaseUrl } = await testDatabase(t);
  const dataDir = await temporaryFolder(t);
  const env = {
    TINTYPE_DATABASE_URL: databaseUrl,
    TINTYPE_DATA_DIR: dataDir,
    TINTYPE_WORKER_EMBEDDED: "true",
    ...settings,
  };
  const server = await startServer(env);
  t.teardown(() => server.stop());
  return { server, client: createClient(server.url, undefined, await contractOf(server.url)), env, dataDir, databaseUrl };
}
