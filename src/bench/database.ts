import { CompiledQuery, Kysely, type LogEvent, PostgresDialect } from "kysely";
import pg from "pg";
import { pino } from "pino";
import { openEmbeddedPostgres } from "../db/embedded.ts";
import type { Schema } from "../db/schema.ts";
import type { Db } from "../db/transaction.ts";
import { copyRows, type Value } from "./copy.ts";

export interface BenchDatabase {
  client: pg.Client;
  /**
   * Loads tables whose rows refer to each other rightly, and has Postgres look them over.
   * @returns how many rows there were, and the seconds that COPY took for them.
   */
  load(tables: Iterable<TableToLoad>): Promise<{ rows: number; seconds: number }>;
  /**
   * Runs a query function of the product, then explains the statement that it sent, with the same parameters.
   * @returns the pages of 8 KiB that were asked for, found in memory or not.
   */
  buffersOf(query: (db: Db) => Promise<unknown>): Promise<number>;
  /** So many connections, as a server has them, until this is closed. */
  connect(max: number): Db;
  close(): Promise<void>;
}

interface TableToLoad {
  table: string;
  columns: readonly string[];
  rows(): Iterable<readonly Value[]>;
}

interface Plan {
  "Shared Hit Blocks": number;
  "Shared Read Blocks": number;
  "Temp Read Blocks": number;
  "Temp Written Blocks": number;
}

/** Opens the embedded Postgres of a server of the bench's own, which goes on running. */
export async function openBenchDatabase(dataDir: string): Promise<BenchDatabase> {
  const embedded = await openEmbeddedPostgres({ dataDir, role: "command", log: pino({ level: "silent" }) });
  const client = new pg.Client({ ...embedded.connection, application_name: "tintype bench" });
  const pool = new pg.Pool({ ...embedded.connection, max: 1 });
  const opened: Db[] = [];
  const statements: CompiledQuery[] = [];
  const log = (event: LogEvent): void => {
    statements.push(event.query);
  };
  const db = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }), log });
  await client.connect();
  return {
    client,
    async load(tables) {
      let [rows, milliseconds] = [0, 0];
      // References are right by construction, and checking them takes longer than all the rest.
      await client.query("SET session_replication_role = replica");
      const loaded: string[] = [];
      for (const { table, columns, rows: rowsOf } of tables) {
        const begin = performance.now();
        rows += await copyRows(client, table, columns, rowsOf());
        milliseconds += performance.now() - begin;
        loaded.push(table);
      }
      await client.query("SET session_replication_role = DEFAULT");
      await client.query(`VACUUM (ANALYZE) ${loaded.join(", ")}`);
      return { rows, seconds: milliseconds / 1000 };
    },
    async buffersOf(query) {
      statements.length = 0;
      await query(db);
      const [statement] = statements;
      if (!statement) throw new Error("no statement was sent");
      const { rows } = await db.executeQuery<{ "QUERY PLAN": [{ Plan: Plan }] }>(
        CompiledQuery.raw(`EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${statement.sql}`, [...statement.parameters]),
      );
      const plan = rows[0]?.["QUERY PLAN"][0].Plan;
      if (!plan) throw new Error("EXPLAIN said nothing");
      return (
        plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] + plan["Temp Read Blocks"] + plan["Temp Written Blocks"]
      );
    },
    connect(max) {
      const pool = new pg.Pool({ ...embedded.connection, max });
      const db = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) });
      opened.push(db);
      return db;
    },
    async close() {
      for (const db of opened) await db.destroy();
      await client.end();
      await db.destroy();
      await embedded.close();
    },
  };
}
