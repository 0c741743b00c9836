import { Kysely, PostgresDialect } from "kysely";
import pg from "pg";
import { pino } from "pino";
import type { Schema } from "../../../src/db/schema.ts";
import type { Db } from "../../../src/db/transaction.ts";

/** Says nothing. */
export const silent = pino({ level: "silent" });

interface Test {
  teardown(end: () => unknown): void;
}

/** The product's query builder on a database; its connections end with the test. */
export function openDb(t: Test, url: string): Db {
  const db = new Kysely<Schema>({ dialect: new PostgresDialect({ pool: new pg.Pool({ connectionString: url }) }) });
  t.teardown(() => db.destroy());
  return db;
}

/** Runs one statement (or several, without parameters) on a connection of its own. @returns the rows. */
export async function query(url: string, text: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(text, values.length > 0 ? values : undefined)).rows;
  } finally {
    await client.end();
  }
}
