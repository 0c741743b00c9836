import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type pg from "pg";
import type { Logger } from "pino";
import { ConfigError, DependencyError, OperationError } from "../errors.ts";
import { VERSION } from "../version.ts";
import { Client } from "./client.ts";
import { describe } from "./database.ts";
import { classifyDatabaseError, isDatabaseError } from "./errors.ts";
import { WITHOUT_TIME_LIMITS } from "./limits.ts";

const FOLDER = fileURLToPath(new URL("../../migrations/postgres/", import.meta.url));
const FILE_NAME = /^(\d{4})_([a-z0-9_]+)\.sql$/;

/** Advisory lock key: whoever migrates holds it, in one session, from first look to last file; shared, a backup. */
export const MIGRATION_LOCK = 0x7417_0001;

/** Milliseconds that a migration waits for a lock, with everybody who wants the table behind it, and then lets them by. */
const LOCK_WAIT = 3_000;
/** With the pauses between them two minutes: longer than what a server does in one transaction. */
const ATTEMPTS = 20;
/** lock_not_available and deadlock_detected. */
const IN_THE_WAY = new Set<unknown>(["55P03", "40P01"]);

export interface Migration {
  version: number;
  name: string;
  sql: string;
  checksum: string;
  /** The oldest version of the application that still works on the schema after this file. */
  oldestApplication: string;
  /** `-- no-transaction` files (CREATE INDEX CONCURRENTLY) run statement by statement and may be run again. */
  transactional: boolean;
}

export interface MigrationStatus {
  version: number;
  name: string;
  applied_at: Date | null;
}

interface AppliedRow {
  version: number;
  name: string;
  checksum: string;
  oldest_application: string;
  applied_at: Date;
}

/** The migrations of this version, in order. A file starts with `-- oldest-application: X.Y.Z`. */
export async function readMigrations(folder = FOLDER): Promise<Migration[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith(".sql")).sort();
  return Promise.all(
    names.map(async (file, index) => {
      const match = FILE_NAME.exec(file);
      if (names[index - 1]?.slice(0, 5) === file.slice(0, 5))
        throw new OperationError(`migration ${file} has the number of another`);
      const sql = await readFile(`${folder}/${file}`, "utf8");
      const oldest = /^-- oldest-application: (\d+\.\d+\.\d+)$/m.exec(sql);
      if (!match?.[1] || !match[2] || !oldest?.[1]) {
        throw new OperationError(`migration ${file} wants a name like 0001_name.sql and an oldest-application line`);
      }
      return {
        version: Number(match[1]),
        name: match[2],
        sql,
        checksum: createHash("sha256").update(sql).digest("hex"),
        oldestApplication: oldest[1],
        transactional: !/^-- no-transaction$/m.test(sql),
      };
    }),
  );
}

/**
 * Applies what is missing, one transaction a file, under an advisory lock: of several that start at once one works
 * and the others find it done. `afterwards` runs under the same lock (pg-boss' schema and queues).
 * With `onlyEmpty`, a database that already has a schema is left alone; with `upTo`, later migrations are. `lockWait` is how
 * many milliseconds a file waits for a lock before it lets others by, and tries again after as many.
 * @returns the migrations that were applied, none when all was there.
 * @throws OperationError when an applied file has changed since, or a file fails (its transaction is rolled back).
 */
export async function migrate(
  connection: pg.PoolConfig,
  options: {
    log: Logger;
    onlyEmpty?: boolean;
    upTo?: number;
    folder?: string;
    lockWait?: number;
    afterwards?: () => Promise<void>;
  },
): Promise<Migration[]> {
  const { log } = options;
  const migrations = await readMigrations(options.folder);
  return withClient(connection, async (client) => {
    await lock(client, log);
    const applied = await readApplied(client);
    if (options.onlyEmpty && applied.size > 0) return [];
    refuseChanged(migrations, applied);
    await client.query(`CREATE TABLE IF NOT EXISTS schema_migrations (
      version integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL,
      oldest_application text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())`);
    const { upTo = Number.POSITIVE_INFINITY } = options;
    const pending = migrations.filter(({ version }) => !applied.has(version) && version <= upTo);
    for (const migration of pending) {
      await apply(client, migration, { log, lockWait: options.lockWait ?? LOCK_WAIT });
      log.info({ version: migration.version, migration: migration.name }, "migration applied");
    }
    await options.afterwards?.();
    return pending;
  });
}

/** Every migration of this version and whether it was applied. */
export async function migrationStatus(connection: pg.PoolConfig): Promise<MigrationStatus[]> {
  const migrations = await readMigrations();
  const applied = await withClient(connection, readApplied);
  return migrations.map(({ version, name }) => ({
    version,
    name,
    applied_at: applied.get(version)?.applied_at ?? null,
  }));
}

/**
 * Refuses a schema that this version cannot work with: one that lacks a migration of ours, or has a newer one that
 * no longer serves us. A newer schema that still serves us is fine: old and new run side by side during a deploy.
 */
export async function assertSchemaServes(connection: pg.PoolConfig, application = VERSION): Promise<void> {
  const migrations = await readMigrations();
  const applied = await withClient(connection, readApplied);
  const missing = migrations.filter((migration) => !applied.has(migration.version));
  if (missing.length > 0) {
    throw new ConfigError(
      `the database lacks ${missing.length} of ${migrations.length} migrations (the first is ${missing[0]?.name})`,
      { hint: "Run `tintype migrate`, then start again." },
    );
  }
  refuseChanged(migrations, applied);
  const known = new Set(migrations.map((migration) => migration.version));
  for (const row of applied.values()) {
    if (!known.has(row.version) && compareVersions(application, row.oldest_application) < 0) {
      throw new ConfigError(
        `the database was migrated by a newer tintype (${row.name}) that no longer serves version ${application}`,
        { hint: `Install tintype ${row.oldest_application} or newer.` },
      );
    }
  }
}

async function apply(
  client: pg.Client,
  migration: Migration,
  options: { log: Logger; lockWait: number },
): Promise<void> {
  try {
    if (migration.transactional) await applyWhole(client, migration, options);
    else {
      // One statement a query: several in one string would be an implicit transaction. They wait for locks without an end:
      // who waits to build an index concurrently is in nobody's way, and to give it up would leave an invalid one.
      for (const statement of migration.sql.split(/;\s*$/m)) if (statement.trim()) await client.query(statement);
      await record(client, migration);
    }
  } catch (error) {
    if (classifyDatabaseError(error) === "unavailable") throw lostDatabase(error);
    throw new OperationError(
      `migration ${migration.version} (${migration.name}) failed: ${error instanceof Error ? error.message : error}`,
      {
        hint: `${migration.transactional ? "Nothing of it was kept. " : ""}Mend the cause and run \`tintype migrate\` again.`,
        cause: error,
      },
    );
  }
}

/** In one transaction, which is begun again where servers that run meanwhile hold what it needs. */
async function applyWhole(
  client: pg.Client,
  migration: Migration,
  { log, lockWait }: { log: Logger; lockWait: number },
): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await client.query("BEGIN");
      await client.query(`SET LOCAL lock_timeout = ${lockWait}`);
      await client.query(migration.sql);
      await record(client, migration);
      await client.query("COMMIT");
      return;
    } catch (error) {
      // Where the connection is gone, Postgres has rolled back by itself.
      await client.query("ROLLBACK").catch(() => undefined);
      if (attempt === ATTEMPTS || !isDatabaseError(error) || !IN_THE_WAY.has(error.code)) throw error;
      log.warn(
        { err: error, migration: migration.name, attempt },
        "others hold what the migration needs; trying again",
      );
      await delay(lockWait);
    }
  }
}

async function record(client: pg.Client, { version, name, checksum, oldestApplication }: Migration): Promise<void> {
  await client.query(
    "INSERT INTO schema_migrations (version, name, checksum, oldest_application) VALUES ($1, $2, $3, $4)",
    [version, name, checksum, oldestApplication],
  );
}

/** Asks again and again: who waits inside of a statement is waited for by CREATE INDEX CONCURRENTLY, a deadlock. */
async function lock(client: pg.Client, log: Logger): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const { rows } = await client.query<{ held: boolean }>("SELECT pg_try_advisory_lock($1) AS held", [MIGRATION_LOCK]);
    if (rows[0]?.held) return;
    if (attempt % 50 === 0) log.warn("another process is migrating this database; waiting for it");
    await delay(100);
  }
}

async function readApplied(client: pg.Client): Promise<Map<number, AppliedRow>> {
  const { rows } = await client.query<{ there: boolean }>(
    "SELECT to_regclass('schema_migrations') IS NOT NULL AS there",
  );
  if (!rows[0]?.there) return new Map();
  const applied = await client.query<AppliedRow>("SELECT * FROM schema_migrations ORDER BY version");
  return new Map(applied.rows.map((row) => [row.version, row]));
}

function refuseChanged(migrations: Migration[], applied: Map<number, AppliedRow>): void {
  for (const migration of migrations) {
    const row = applied.get(migration.version);
    if (row && row.checksum !== migration.checksum) {
      throw new OperationError(`migration ${migration.version} (${migration.name}) was changed after it was applied`, {
        hint: "Migrations are never edited: restore the file and write a new one.",
      });
    }
  }
}

async function withClient<T>(connection: pg.PoolConfig, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new Client(connection);
  try {
    await client.connect();
    await client.query(WITHOUT_TIME_LIMITS);
    return await work(client);
  } catch (error) {
    throw classifyDatabaseError(error) === "unavailable" ? lostDatabase(error) : error;
  } finally {
    await client.end();
  }
}

function lostDatabase(cause: unknown): DependencyError {
  return new DependencyError(`Postgres went away: ${describe(cause)}`, { hint: "Run the same command again.", cause });
}

function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((version) => version.split(".").map(Number));
  for (const index of [0, 1, 2]) {
    const difference = (left?.[index] ?? 0) - (right?.[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
