import { execFile } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { glob, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import pg from "pg";

/** A database of the caller's own, with the product's schema and nothing in it. */
export interface TestDatabase {
  /** For TINTYPE_DATABASE_URL. */
  readonly url: string;
  /**
   * Drops the database, whoever is still connected.
   * @throws if connections to it are still open after two seconds: somebody forgot to close them.
   */
  drop(): Promise<void>;
}

const ROOT = join(import.meta.dirname, "../..");

/** How long a connection may take to disappear after its client closed it. */
const LEAK_AFTER_MS = 2_000;

/**
 * Makes a database by cloning a migrated template. One for each test file is meant, so that files run side by side.
 *
 * FILE_COPY: 36 ms a clone against 80 ms by WAL_LOG (60 tables, fsync off); migrating takes over a second.
 * @param t drops the database when this test is over, after what was registered later; a leaked connection fails it.
 */
export async function testDatabase(t?: { teardown(end: () => unknown): void }): Promise<TestDatabase> {
  return createDatabase(`TEMPLATE ${await templateDatabase()} STRATEGY file_copy`, t);
}

/**
 * Makes a database without anything in it, for those who test what the product does then.
 * @param options of CREATE DATABASE, such as its locale.
 */
export async function emptyDatabase(t?: { teardown(end: () => unknown): void }, options = ""): Promise<TestDatabase> {
  return createDatabase(options, t);
}

async function createDatabase(from: string, t?: { teardown(end: () => unknown): void }): Promise<TestDatabase> {
  const name = `tintype_test_${randomBytes(6).toString("hex")}`;
  await onServer((client) => client.query(`CREATE DATABASE ${name} ${from}`));
  const drop = async () => {
    const leaked = await onServer(async (client) => {
      const open = await connectionsTo(client, name);
      await client.query(`DROP DATABASE ${name} WITH (FORCE)`);
      return open;
    });
    if (leaked.length > 0) throw new Error(`connections to ${name} were not closed:\n${leaked.join("\n")}`);
  };
  t?.teardown(drop);
  return { url: urlOf(name), drop };
}

/** Those that stay open, each with what it did last. */
async function connectionsTo(client: pg.Client, database: string): Promise<string[]> {
  const deadline = performance.now() + LEAK_AFTER_MS;
  for (;;) {
    const { rows } = await client.query<{ connection: string }>(
      `SELECT concat_ws(' ', pid, application_name, state, query) AS connection
         FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'client backend'`,
      [database],
    );
    if (rows.length === 0 || performance.now() > deadline) return rows.map((row) => row.connection);
    await delay(20);
  }
}

function serverUrl(): string {
  const url = process.env.TINTYPE_TEST_DATABASE_URL;
  if (!url) throw new Error("there is no test server: run npm test -- <file>");
  return url;
}

function urlOf(database: string): string {
  const url = new URL(serverUrl());
  url.pathname = `/${database}`;
  return url.href;
}

async function onServer<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: serverUrl(), application_name: "test support" });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** @returns the name of the migrated template, made by whichever test file comes first. */
async function templateDatabase(): Promise<string> {
  const name = `tintype_template_${await schemaHash()}`;
  await onServer(async (client) => {
    await client.query("SELECT pg_advisory_lock(hashtext($1))", [name]);
    const { rowCount } = await client.query("SELECT FROM pg_database WHERE datname = $1", [name]);
    if (rowCount) return;
    // It gets its name only when it is complete: a run that was killed in between leaves no half template.
    const unfinished = `${name}_unfinished`;
    await client.query(`DROP DATABASE IF EXISTS ${unfinished} WITH (FORCE)`);
    await client.query(`CREATE DATABASE ${unfinished}`);
    await migrate(urlOf(unfinished));
    await client.query(`ALTER DATABASE ${unfinished} RENAME TO ${name}`);
  });
  return name;
}

/** Of all that `migrate` makes of a database: our tables, and the schema and the queues of pg-boss. */
async function schemaHash(): Promise<string> {
  const hash = createHash("sha256");
  const files = await Array.fromAsync(
    glob(["migrations/**/*.sql", "src/jobs/*.ts", "plugins/*/jobs.ts", "node_modules/pg-boss/package.json"], {
      cwd: ROOT,
    }),
  );
  for (const file of files.sort()) hash.update(`${file}\0`).update(await readFile(join(ROOT, file)));
  return hash.digest("hex").slice(0, 16);
}

/** By the product's own command, as an operator would. */
async function migrate(url: string): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "tintype-test-migrate-"));
  try {
    await promisify(execFile)(process.execPath, [join(ROOT, "bin/tintype.js"), "migrate"], {
      cwd: directory,
      env: { PATH: process.env.PATH, TINTYPE_DATABASE_URL: url, TINTYPE_DATA_DIR: join(directory, "data") },
    });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
