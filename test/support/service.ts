import { type Client, createClient, type Json, type SignedIn } from "./client.ts";
import { contractOf } from "./contract.ts";
import { testDatabase } from "./database.ts";
import { type Server, startServer, temporaryFolder, waitFor } from "./server.ts";

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
  return {
    server,
    client: createClient(server.url, undefined, await contractOf(server.url)),
    env,
    dataDir,
    databaseUrl,
  };
}

/** Waits until a post is no longer being processed. @returns it as its author reads it. */
export async function processed(author: Client, postId: string): Promise<Json> {
  return waitFor(async () => {
    const { status, body } = await author.request("GET", `/posts/${postId}`);
    return status === 200 && body.status !== "processing" && body;
  }, `post ${postId} to be processed`);
}

/** Uploads pictures as one post and waits until it is published. @returns the post. */
export async function publish(author: SignedIn, ...upload: Parameters<SignedIn["post"]>): Promise<Json> {
  const post = await processed(author, await author.post(...upload));
  if (post.status !== "published") throw new Error(`the post is ${post.status}: ${JSON.stringify(post.failure)}`);
  return post;
}
