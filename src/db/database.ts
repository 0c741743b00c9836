import { Kysely, PostgresDialect } from "kysely";
import pg from "pg";
import type { Logger } from "pino";
import type { Config } from "../config/schema.ts";
import { DependencyError } from "../errors.ts";
import { Client } from "./client.ts";
import { type EmbeddedPostgres, openEmbeddedPostgres } from "./embedded.ts";
import type { Schema } from "./schema.ts";
import type { Db } from "./transaction.ts";

// int8 comes as a string by default; every bigint of ours (bytes, counts) is far below 2^53.
pg.types.setTypeParser(pg.types.builtins.INT8, Number);

/** What a process is on the database: `serve` alone may hold an embedded data dir. */
export type Role = "serve" | "worker" | "command";

/** What the connection calls itself of which each `serve` and `worker` has one, for as long as it runs. */
export function listenerName(role: Role): string {
  return `tintype ${role} notices`;
}

export interface Database {
  readonly db: Db;
  readonly pool: pg.Pool;
  /** For whoever needs connections of its own (pg-boss, LISTEN). */
  readonly connection: pg.PoolConfig;
  readonly embedded: EmbeddedPostgres | null;
  close(): Promise<void>;
}

/**
 * Opens the configured Postgres, or the embedded one where none is configured.
 * @throws DependencyError when the server does not answer, ConfigError when the embedded one cannot be had.
 */
export async function openDatabase(options: {
  config: Config;
  log: Logger;
  role: Role;
  onLost?: (error: Error) => void;
}): Promise<Database> {
  const { config, log, role } = options;
  const embedded =
    config.database.url === null
      ? await openEmbeddedPostgres({
          dataDir: config.data_dir,
          role: role === "serve" ? "serve" : "command",
          log,
          ...(options.onLost ? { onLost: options.onLost } : {}),
        })
      : null;

  const connection: pg.PoolConfig = {
    ...(embedded ? embedded.connection : { connectionString: config.database.url ?? "" }),
    application_name: `tintype ${role}`,
    connectionTimeoutMillis: 5_000,
    keepAlive: true,
  };
  const pool = new pg.Pool({
    ...connection,
    Client,
    max: config.database.pool_max,
    statement_timeout: config.database.statement_timeout,
    // The server itself watches over the time of a statement, but for one that hangs.
    query_timeout: config.database.statement_timeout + 5_000,
    idle_in_transaction_session_timeout: config.database.statement_timeout,
  });
  // A connection that breaks while idle is replaced at the next query; unheard, it would end the process.
  pool.on("error", (error) => log.warn({ err: error }, "an idle database connection broke"));

  const close = async () => {
    if (!pool.ended) await pool.end();
    await embedded?.close();
  };
  try {
    await pool.query("SELECT 1");
  } catch (error) {
    await close();
    throw new DependencyError(`Postgres does not answer: ${describe(error)}`, {
      hint: "Check that the server of TINTYPE_DATABASE_URL runs and lets this user in.",
      cause: error,
    });
  }
  return { db: new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) }), pool, connection, embedded, close };
}

/** Node reports a refused connection to several addresses as an AggregateError without a message of its own. */
export function describe(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(describe).join("; ");
  return error instanceof Error ? error.message : String(error);
}
