import { randomBytes } from "node:crypto";
import pg from "pg";
import { v7 as newId } from "uuid";
import { type Answer, createClient, postForm, type RequestOptions, type SignedIn } from "../client.ts";
import { testDatabase } from "../database.ts";
import { picture } from "../pictures.ts";
import { run, type Server, type Started, start, startServer, temporaryFolder, waitFor } from "../server.ts";
import { FeedModel } from "./model.ts";

export interface WorldOptions {
  people: readonly string[];
  servers: number;
  /** Of their own; with none, the servers take the jobs too. */
  workers: number;
  /** Further TINTYPE_* variables. */
  settings: Record<string, string>;
  /** What the workers are told beside these, one after the other. */
  workerSettings?: readonly Record<string, string>[];
  /** How many posts each of them has from the beginning. */
  postsEach: number;
}

/** A service of several processes, and the people who use it. */
export interface World {
  model: FeedModel;
  /** What its processes are started with. */
  env: Record<string, string>;
  accounts: ReadonlyMap<string, SignedIn>;
  sql: pg.Pool;
  servers: readonly Server[];
  /** @returns null if that server was killed meanwhile: nobody knows what came of it. */
  ask(who: string, server: number, method: string, path: string, options?: RequestOptions): Promise<Answer | null>;
  /** The form of a post, with a picture that no other has. */
  postForm(caption: string): FormData;
  killServer(index: number): Promise<void>;
  killWorker(index: number): Promise<void>;
  /** Makes jobs that are under way be taken once more. */
  repeatJobs(): Promise<unknown>;
  /** Waits until nothing is left to do of what was asked so far. */
  jobsDone(): Promise<unknown>;
  command(...args: string[]): Promise<{ code: number | string; stdout: string; stderr: string }>;
}

export async function startWorld(
  t: { teardown(end: () => unknown): void },
  { people, servers: count, workers: workerCount, settings, workerSettings = [{}], postsEach }: WorldOptions,
): Promise<World> {
  const { url } = await testDatabase(t);
  const sql = new pg.Pool({ connectionString: url, max: 4 });
  t.teardown(() => sql.end());
  const env = {
    TINTYPE_DATABASE_URL: url,
    TINTYPE_DATA_DIR: await temporaryFolder(t),
    TINTYPE_WORKER_EMBEDDED: String(workerCount === 0),
    ...settings,
  };
  const startWorker = (index: number) =>
    start(["worker"], { ...env, ...workerSettings[index % workerSettings.length] });
  const servers: Server[] = [];
  const workers: Started[] = [];
  t.teardown(() => Promise.all([...servers, ...workers].map((one) => one.stop())));
  const first = await startServer(env);
  servers.push(first, ...(await Promise.all(Array.from({ length: count - 1 }, () => startServer(env)))));
  workers.push(...Array.from({ length: workerCount }, (_, index) => startWorker(index)));
  const dying = new Set<number>();
  const accounts = new Map<string, SignedIn>();
  for (const name of people) accounts.set(name, await first.client.register(name));
  const base = await picture({ width: 32, height: 32, format: "png" });

  const model = new FeedModel();
  await insertPosts(sql, model, [...accounts.values()], postsEach);

  const world: World = {
    model,
    env,
    accounts,
    sql,
    servers,
    async ask(who, server, method, path, options) {
      const client = createClient((servers[server] as Server).url, accounts.get(who)?.token);
      try {
        return await client.request(method, path, options);
      } catch (error) {
        if (dying.has(server)) return null;
        throw error;
      }
    },
    // Nobody reads what comes behind a PNG's end.
    postForm: (caption) => postForm([Buffer.concat([base, randomBytes(8)])], caption),
    async killServer(index) {
      dying.add(index);
      await servers[index]?.kill();
      servers[index] = await startServer(env);
      dying.delete(index);
    },
    async killWorker(index) {
      await workers[index]?.kill();
      workers[index] = startWorker(index);
      // That one which was lost is found after a while is tested elsewhere.
      await world.repeatJobs();
    },
    // Without `started_on` it uses up no try.
    repeatJobs: () =>
      sql.query(
        "UPDATE pgboss.job SET state = 'retry', start_after = now(), heartbeat_on = NULL, started_on = NULL WHERE state = 'active'",
      ),
    jobsDone: () =>
      waitFor(async () => {
        const { rowCount } = await sql.query(
          `SELECT FROM pgboss.job WHERE state IN ('created', 'retry', 'active')
           AND (name = 'media.process' OR name LIKE 'graph.%' OR name LIKE 'feed.%')`,
        );
        return rowCount === 0;
      }, "the jobs to be done"),
    command: (...args) => run(args, env),
  };
  return world;
}

const EPOCH = Date.UTC(2026, 0, 1);
/** So many share a millisecond. */
const TIES = 10;

/** Posts of the past without pictures, as if they had been published before anybody had a timeline. */
async function insertPosts(sql: pg.Pool, model: FeedModel, authors: readonly SignedIn[], each: number): Promise<void> {
  const posts = authors.flatMap(({ id: authorId, username }) =>
    Array.from({ length: each }, (_, index) => {
      const msecs = EPOCH + Math.floor(index / TIES);
      return { id: newId({ msecs }), authorId, username, at: new Date(msecs).toISOString() };
    }),
  );
  await sql.query(
    `INSERT INTO posts (id, user_id, status, published_at)
     SELECT id, user_id, 'published', at FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS row (id, user_id, at)`,
    [posts.map(({ id }) => id), posts.map(({ authorId }) => authorId), posts.map(({ at }) => at)],
  );
  await sql.query("UPDATE users SET post_count = $1", [each]);
  for (const { id, username, at } of posts) {
    const post = { id, author: username, caption: null, published_at: at, settled: true, deleted: false };
    model.posts.set(id, post);
  }
}
