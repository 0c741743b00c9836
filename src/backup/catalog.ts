import type pg from "pg";
import type { Table } from "./format.ts";

/** The manifest has the migrations; the others are about backups themselves, and about the Redis beside a database. */
const NOT_CARRIED = ["schema_migrations", "backup_leases", "unfinished_restores", "redis_epoch", "timeline_rebuilds"];

/** Every table of ours with the columns that are stored: those of extensions, and generated columns, come by themselves. */
export async function readTables(client: Pick<pg.ClientBase, "query">): Promise<Table[]> {
  const { rows } = await client.query<Table>(
    `SELECT c.relname AS name, array_agg(a.attname::text ORDER BY a.attnum) AS columns
     FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
       AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
       AND c.relname <> ALL ($1)
       AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
     GROUP BY c.relname ORDER BY c.relname`,
    [NOT_CARRIED],
  );
  return rows;
}

export async function readSequences(client: pg.ClientBase): Promise<{ name: string; last_value: number }[]> {
  const { rows } = await client.query<{ name: string; last_value: number }>(
    `SELECT sequencename AS name, last_value FROM pg_sequences
     WHERE schemaname = 'public' AND last_value IS NOT NULL ORDER BY 1`,
  );
  return rows;
}

/** The columns of pg-boss' jobs, none where it is not installed. */
export async function readJobColumns(client: pg.ClientBase): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    `SELECT attname AS name FROM pg_attribute
     WHERE attrelid = to_regclass('pgboss.job') AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
     ORDER BY attnum`,
  );
  return rows.map(({ name }) => name);
}

/** @returns how to take each foreign key off, and how to put it back. */
export async function readForeignKeys(client: pg.ClientBase): Promise<{ drop: string; add: string }[]> {
  const { rows } = await client.query<{ drop: string; add: string }>(
    `SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) AS drop,
       format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) AS add
     FROM pg_constraint
     WHERE contype = 'f' AND conparentid = 0 AND connamespace = 'public'::regnamespace`,
  );
  return rows;
}
