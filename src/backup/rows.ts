import { pipeline } from "node:stream/promises";
import type pg from "pg";
import { from as copyFrom } from "pg-copy-streams";
import type { Logger } from "pino";
import { readForeignKeys, readJobColumns } from "./catalog.ts";
import type { Manifest, Summary } from "./format.ts";
import { assertWithoutRows } from "./target.ts";

export interface Rows {
  /** Rows by table, and jobs, so far. */
  readonly counts: Pick<Summary, "tables" | "jobs">;
  addToTable(name: string, piece: AsyncIterable<Buffer>): Promise<void>;
  addJobs(piece: AsyncIterable<Buffer>): Promise<void>;
  /** Puts the constraints back, which checks every row, sets the sequences and gives the jobs to their queues. */
  finish(log: Logger): Promise<void>;
}

/**
 * Opens all tables of an empty database for the rows of a backup, within the transaction that `client` is in.
 *
 * Foreign keys are taken off and put back at the end, as pg_restore does: tables refer to each other in circles, one
 * check of all rows costs less than one for each, and only the owner's rights are needed. Triggers stay off: what they
 * would write is in the backup.
 */
export async function openRows(client: pg.Client, manifest: Manifest): Promise<Rows> {
  const { tables } = manifest;
  const all = names(
    client,
    tables.map(({ name }) => name),
  );
  // Whoever comes now waits for the restored rows.
  await client.query(`LOCK TABLE ${all} IN ACCESS EXCLUSIVE MODE`);
  await assertWithoutRows(client, tables);
  const foreignKeys = await readForeignKeys(client);
  for (const { drop } of foreignKeys) await client.query(drop);
  const setTriggers = async (state: "ENABLE" | "DISABLE") => {
    for (const { name } of tables) {
      await client.query(`ALTER TABLE ${client.escapeIdentifier(name)} ${state} TRIGGER USER`);
    }
  };
  await setTriggers("DISABLE");
  // What migrations wrote is in the backup too, as it is today.
  await client.query(`TRUNCATE ${all}`);
  const jobs = await openJobs(client, manifest);
  const counts: Rows["counts"] = { tables: {}, jobs: 0 };

  return {
    counts,
    async addToTable(name, piece) {
      const columns = tables.find((table) => table.name === name)?.columns;
      if (!columns) throw new Error(`the backup has rows of ${name}, which its manifest does not name`);
      counts.tables[name] = (counts.tables[name] ?? 0) + (await copyInto(client, name, columns, piece));
    },
    async addJobs(piece) {
      counts.jobs += await copyInto(client, INCOMING_JOBS, manifest.jobs.columns, piece);
    },
    async finish(log) {
      await setTriggers("ENABLE");
      for (const { add } of foreignKeys) await client.query(add);
      for (const { name, last_value } of manifest.sequences) {
        await client.query("SELECT setval($1::regclass, $2)", [client.escapeIdentifier(name), last_value]);
      }
      const skipped = counts.jobs - (await jobs.enqueue());
      if (skipped > 0) log.warn({ jobs: skipped }, "jobs were left out: their queues are no longer there");
    },
  };
}

const INCOMING_JOBS = "restored_jobs";

/** The jobs' columns are pg-boss', which may have another version here: those that both have are carried over. */
async function openJobs(client: pg.Client, { jobs, created_at }: Manifest): Promise<{ enqueue(): Promise<number> }> {
  const here = new Set(await readJobColumns(client));
  const common = names(
    client,
    jobs.columns.filter((column) => here.has(column)),
  );
  await client.query(
    `CREATE TEMP TABLE ${INCOMING_JOBS} ON COMMIT DROP AS SELECT ${common} FROM pgboss.job WITH NO DATA`,
  );
  for (const column of jobs.columns.filter((name) => !here.has(name))) {
    await client.query(`ALTER TABLE ${INCOMING_JOBS} ADD COLUMN ${client.escapeIdentifier(column)} text`);
  }
  return {
    async enqueue() {
      // No worker has them any more, as if that try had not been. And an old backup's jobs have their whole time again.
      await client.query(
        `UPDATE ${INCOMING_JOBS} SET state = 'created', started_on = NULL, heartbeat_on = NULL WHERE state = 'active'`,
      );
      await client.query(`UPDATE ${INCOMING_JOBS} SET keep_until = keep_until + (now() - $1::timestamptz)`, [
        created_at,
      ]);
      // What waits in a service that nobody has used yet is the clock's.
      await client.query("DELETE FROM pgboss.job");
      const { rowCount } = await client.query(
        `INSERT INTO pgboss.job (${common}) SELECT ${common} FROM ${INCOMING_JOBS}
         WHERE name IN (SELECT name FROM pgboss.queue)`,
      );
      return rowCount ?? 0;
    },
  };
}

/** @returns how many rows. */
async function copyInto(
  client: pg.Client,
  table: string,
  columns: readonly string[],
  piece: AsyncIterable<Buffer>,
): Promise<number> {
  const sink = client.query(copyFrom(`COPY ${client.escapeIdentifier(table)} (${names(client, columns)}) FROM STDIN`));
  await pipeline(piece, sink);
  return sink.rowCount;
}

function names(client: pg.ClientBase, identifiers: readonly string[]): string {
  return identifiers.map((name) => client.escapeIdentifier(name)).join(", ");
}
