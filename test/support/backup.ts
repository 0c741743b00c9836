import { createHash, randomBytes } from "node:crypto";
import { chmod, readdir, readFile } from "node:fs/promises";
import { join, relative } from "node:path";
import pg from "pg";
import type { Json } from "./client.ts";
import { emptyDatabase } from "./database.ts";
import { run, type Server, startServer, temporaryFolder } from "./server.ts";

interface Test {
  teardown(end: () => unknown): void;
}

/** What is about this database and not in it. */
const ABOUT = ["schema_migrations", "backup_leases", "unfinished_restores", "redis_epoch", "timeline_rebuilds"];

/** Every row of every table by its table, and the jobs that are not done, in an order that does not depend on where they lie. */
export async function rowsOf(databaseUrl: string): Promise<Record<string, Json[]>> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const rows = async (from: string): Promise<Json[]> => {
      const found = await client.query(`SELECT to_jsonb(t) AS row FROM ${from} t ORDER BY to_jsonb(t)::text`);
      return found.rows.map(({ row }) => row);
    };
    const tables = await client.query<{ name: string }>(
      `SELECT table_name AS name FROM information_schema.tables
       WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND table_name <> ALL ($1)`,
      [ABOUT],
    );
    const contents: Record<string, Json[]> = {};
    for (const { name } of tables.rows) contents[name] = await rows(`"${name}"`);
    contents["jobs that are not done"] = await rows("(SELECT * FROM pgboss.job WHERE state < 'completed')");
    return contents;
  } finally {
    await client.end();
  }
}

/** The hash of every object of a data dir's media store by its key. */
export async function objectsOf(dataDir: string): Promise<Record<string, string>> {
  const root = join(dataDir, "media");
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile() && entry.parentPath !== root);
  const hashes = await Promise.all(
    files.map(async ({ parentPath, name }) => {
      const path = join(parentPath, name);
      return [
        relative(root, path),
        createHash("sha256")
          .update(await readFile(path))
          .digest("hex"),
      ] as const;
    }),
  );
  return Object.fromEntries(hashes.sort(([one], [other]) => (one < other ? -1 : 1)));
}

/** Holds a lock on a table, so that whoever needs it waits. @returns `waiting` tells whether so many do, `release` lets go. */
export async function brake(
  t: Test,
  databaseUrl: string,
  table: string,
  mode = "ACCESS EXCLUSIVE",
): Promise<{ waiting(others?: number): Promise<boolean>; release(): Promise<void> }> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  let released: Promise<void> | undefined;
  const release = () => {
    released ??= client.end();
    return released;
  };
  t.teardown(release);
  await client.query("BEGIN");
  await client.query(`LOCK TABLE ${table} IN ${mode} MODE`);
  return {
    release,
    async waiting(others = 1) {
      // Databases that were cloned have tables of the same oid, and other tests hold those of theirs.
      const { rowCount } = await client.query(
        `SELECT FROM pg_locks JOIN pg_database ON pg_database.oid = database
         WHERE datname = current_database() AND relation = $1::regclass AND NOT granted`,
        [table],
      );
      return (rowCount ?? 0) >= others;
    },
  };
}

/** Runs a command with --json. @returns what it says; an exit code other than expected is an error. */
export async function tintype(args: string[], env: Record<string, string>, expected = 0): Promise<Json> {
  const { code, stdout, stderr } = await run([...args, "--json"], env);
  if (code !== expected) throw new Error(`${args.join(" ")} ended with ${code}, not ${expected}:\n${stdout}${stderr}`);
  return JSON.parse(stdout);
}

/** Runs a statement on a connection of its own. */
export async function query(databaseUrl: string, text: string): Promise<Json[]> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    return (await client.query(text)).rows;
  } finally {
    await client.end();
  }
}

/** A folder that Postgres' own account may pass through too. */
export async function folder(t: Test): Promise<string> {
  const path = await temporaryFolder(t);
  await chmod(path, 0o755);
  return path;
}

/** A service that has nothing yet: a database without a schema, and a data dir that is not there. */
export async function emptyTarget(
  t: Test,
): Promise<{ env: Record<string, string>; databaseUrl: string; dataDir: string }> {
  const { url: databaseUrl } = await emptyDatabase(t);
  const dataDir = join(await folder(t), "data");
  return { databaseUrl, dataDir, env: { TINTYPE_DATABASE_URL: databaseUrl, TINTYPE_DATA_DIR: dataDir } };
}

/** Gives a database to a role of its own, which is nobody else: as operators have it. @returns its URL for that role. */
export async function ownedByPlainRole(t: Test, databaseUrl: string): Promise<string> {
  const role = `plain_${randomBytes(6).toString("hex")}`;
  const url = new URL(databaseUrl);
  await query(
    databaseUrl,
    `CREATE ROLE ${role} LOGIN PASSWORD '${role}'; ALTER DATABASE ${url.pathname.slice(1)} OWNER TO ${role}`,
  );
  t.teardown(() =>
    query(databaseUrl, `REASSIGN OWNED BY ${role} TO CURRENT_USER; DROP OWNED BY ${role}; DROP ROLE ${role}`),
  );
  url.username = role;
  url.password = role;
  return url.href;
}

/** Starts a server that ends with the test. */
export async function serve(t: Test, env: Record<string, string>): Promise<Server> {
  const server = await startServer(env);
  t.teardown(() => server.stop());
  return server;
}

/** What is restored of jobs: none is in anybody's hands, and each is kept for longer. */
export function afterwards(rows: Record<string, Json[]>): Record<string, Json[]> {
  const jobs = (rows["jobs that are not done"] ?? []).map(({ keep_until, of_another_version, ...job }) =>
    job.state === "active" ? { ...job, state: "created", started_on: null, heartbeat_on: null } : job,
  );
  return { ...rows, "jobs that are not done": jobs };
}

/** Objects of a medium. */
export async function objectsOfMedium({ dataDir }: { dataDir: string }, id: string): Promise<string[]> {
  return Object.keys(await objectsOf(dataDir)).filter((key) => key.includes(id));
}
