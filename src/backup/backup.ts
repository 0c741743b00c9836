import { randomUUID } from "node:crypto";
import { sql } from "kysely";
import type pg from "pg";
import { to as copyTo } from "pg-copy-streams";
import type { Context } from "../context.ts";
import { Client } from "../db/client.ts";
import { WITHOUT_TIME_LIMITS } from "../db/limits.ts";
import { MIGRATION_LOCK } from "../db/migrator.ts";
import { openSession } from "../db/session.ts";
import { VERSION } from "../version.ts";
import { readJobColumns, readSequences, readTables } from "./catalog.ts";
import { explainFailure } from "./failure.ts";
import { FORMAT, FORMAT_VERSION, MANIFEST, type Manifest, PIECE_BYTES, SUMMARY, type Summary } from "./format.ts";
import { takeLease } from "./lease.ts";
import { lineOf, writeObjects } from "./media.ts";
import type { Progress } from "./progress.ts";
import { type BackupWriter, createBackupFile, type Place } from "./writer.ts";

/** Waiting for a migration has an end. */
const LOCK_TIMEOUT = "SET lock_timeout = '30s'";

export interface Report {
  file: string;
  bytes: number;
  tables: number;
  /** Rows of all tables, and jobs. */
  rows: number;
  objects: number;
  /** Keys of objects that the store does not have. */
  missing: string[];
  /** Keys of objects that are not what the rows say. They are in the backup as they are, but for the unreadable. */
  damaged: string[];
  /** Those of the damaged that could not be read to their end: a restore leaves them out. */
  unreadable: string[];
  duration_ms: number;
}

/**
 * Writes a backup while others read, write and delete: all rows of one snapshot, and every object that they know. The
 * snapshot is let go before the objects are read, for that may take hours, in which Postgres could clean nothing up.
 *
 * Memory does not grow with what is stored: a piece of rows (4 MB, or one longer row) and a chunk of an object at a time;
 * only the keys of missing and damaged objects are kept.
 * @throws OperationError when it cannot be written or was interrupted: there is no file then.
 */
export async function backup(options: {
  context: Context;
  connection: pg.PoolConfig;
  file: string;
  force: boolean;
  signal: AbortSignal;
  progress: Progress;
}): Promise<Report> {
  const { context, connection, file, force, progress } = options;
  const started = performance.now();
  // Before anything else: what the snapshot shows must not be removed any more. See lease.ts.
  const lease = await takeLease(context.db);
  const signal = AbortSignal.any([options.signal, lease.lost]);
  let writer: BackupWriter | undefined;
  try {
    writer = await createBackupFile(file, { force, signal });
    const { lists, ...rows } = await writeRows(writer, { context, connection, signal, progress });
    const objects = await writeObjects(writer, lists, { media: context.media, progress });
    const summary: Summary = { ...rows, ...objects };
    const bytes = jsonOf(summary);
    await writer.add(SUMMARY, bytes.length, [bytes]);
    await lease.end();
    await writer.finish();
    return {
      file,
      bytes: writer.bytes,
      tables: Object.keys(rows.tables).length,
      rows: Object.values(rows.tables).reduce((sum, count) => sum + count, rows.jobs),
      ...objects,
      duration_ms: Math.round(performance.now() - started),
    };
  } catch (error) {
    // What was interrupted fails in its own way; why it was is the better reason.
    const reason = signal.aborted ? signal.reason : explainFailure(error);
    await writer?.discard();
    await lease.end().catch(() => undefined);
    throw reason;
  }
}

/** @returns how many rows there were, and where the lists of objects lie in the file. */
async function writeRows(
  writer: BackupWriter,
  options: { context: Context; connection: pg.PoolConfig; signal: AbortSignal; progress: Progress },
): Promise<Pick<Summary, "tables" | "jobs"> & { lists: Place[] }> {
  const { context, connection, signal, progress } = options;
  const client = new Client({ ...connection, application_name: "tintype backup" });
  await client.connect();
  // Not by a message: Postgres hears none while it sends rows that nobody reads any more, or waits for a lock.
  const hangUp = () => client.connection.stream.destroy();
  signal.addEventListener("abort", hangUp);
  try {
    // Text that every server reads alike, whatever this one is set to.
    await client.query(`${WITHOUT_TIME_LIMITS};
      ${LOCK_TIMEOUT}; SET timezone = 'UTC'; SET datestyle = 'ISO'; SET intervalstyle = 'postgres';
      SET extra_float_digits = 3; SET bytea_output = 'hex'; SET client_encoding = 'UTF8'`);
    // A snapshot does not cover the catalog: the tables must stay as they are while they are copied.
    await client.query("SELECT pg_advisory_lock_shared($1)", [MIGRATION_LOCK]);
    await client.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    const snapshot = await client.query<{ id: string }>("SELECT pg_export_snapshot() AS id");
    const manifest = await readManifest(client);
    const head = jsonOf(manifest);
    await writer.add(MANIFEST, head.length, [head]);

    const tables: Record<string, number> = {};
    for (const { name, columns } of manifest.tables) {
      if (context.kept.passing.has(name)) continue;
      progress(`rows: ${name}`);
      const source = `SELECT ${list(client, columns)} FROM ${client.escapeIdentifier(name)}`;
      tables[name] = await writeQuery(writer, client, source, `tables/${name}`);
    }
    const jobs =
      manifest.jobs.columns.length === 0
        ? 0
        : await writeQuery(
            writer,
            client,
            // What is done is no work any more, and what the queue enqueues for itself comes again.
            `SELECT ${list(client, manifest.jobs.columns)} FROM pgboss.job
             WHERE state < 'completed' AND name NOT LIKE '\\_\\_pgboss%'`,
            "jobs",
          );
    progress("list of the media");
    const lists = await writeLists(writer, connection, snapshot.rows[0]?.id ?? "", context);
    return { tables, jobs, lists };
  } catch (error) {
    hangUp();
    throw error;
  } finally {
    signal.removeEventListener("abort", hangUp);
    await client.end();
  }
}

async function readManifest(client: pg.ClientBase): Promise<Manifest> {
  const migrations = await client.query<Manifest["migrations"][number]>(
    "SELECT version, name, checksum FROM schema_migrations ORDER BY version",
  );
  const server = await client.query<{ postgres: string; pgboss: number }>(
    "SELECT current_setting('server_version') AS postgres, version AS pgboss FROM pgboss.version",
  );
  return {
    format: FORMAT,
    format_version: FORMAT_VERSION,
    id: randomUUID(),
    created_at: new Date().toISOString(),
    application: VERSION,
    postgres: server.rows[0]?.postgres ?? "",
    pgboss: server.rows[0]?.pgboss ?? 0,
    migrations: migrations.rows,
    tables: await readTables(client),
    jobs: { columns: await readJobColumns(client) },
    sequences: await readSequences(client),
  };
}

/** @returns how many rows. */
async function writeQuery(writer: BackupWriter, client: pg.Client, source: string, folder: string): Promise<number> {
  const rows = client.query(copyTo(`COPY (${source}) TO STDOUT`));
  await writePieces(writer, rows, (n) => `${folder}/${n}.copy`);
  return rows.rowCount;
}

/** Writes lines in pieces of whole ones. In COPY's text format, as in JSON, a newline ends a row and is in none. */
async function writePieces(
  writer: BackupWriter,
  chunks: AsyncIterable<Buffer>,
  nameOf: (n: string) => string,
): Promise<Place[]> {
  const places: Place[] = [];
  let held: Buffer[] = [];
  let bytes = 0;
  const flush = async (last: Buffer, rest: Buffer) => {
    const name = nameOf(String(places.length + 1).padStart(6, "0"));
    // As one: a list's lines are many, and each would be a write of its own.
    places.push(await writer.add(name, bytes + last.length, [Buffer.concat([...held, last])]));
    held = [rest];
    bytes = rest.length;
  };
  for await (const chunk of chunks) {
    const end = chunk.lastIndexOf("\n") + 1;
    if (bytes + chunk.length >= PIECE_BYTES && end > 0) await flush(chunk.subarray(0, end), chunk.subarray(end));
    else {
      held.push(chunk);
      bytes += chunk.length;
    }
  }
  if (bytes > 0) await flush(Buffer.alloc(0), Buffer.alloc(0));
  return places;
}

/** The objects that the snapshot's rows know. They are listed in the file first, and read from there one by one. */
async function writeLists(
  writer: BackupWriter,
  connection: pg.PoolConfig,
  snapshot: string,
  { kept }: Context,
): Promise<Place[]> {
  const db = openSession(connection, "tintype backup", LOCK_TIMEOUT);
  try {
    return await db
      .transaction()
      .setIsolationLevel("repeatable read")
      .execute(async (tx) => {
        await sql`SET TRANSACTION SNAPSHOT ${sql.lit(snapshot)}`.execute(tx);
        async function* lines() {
          for await (const object of kept.objects(tx)) yield lineOf(object);
        }
        return writePieces(writer, lines(), (n) => `objects/${n}.jsonl`);
      });
  } finally {
    await db.destroy();
  }
}

function jsonOf(value: unknown): Buffer {
  return Buffer.from(`${JSON.stringify(value, null, 2)}\n`);
}

function list(client: pg.ClientBase, columns: readonly string[]): string {
  return columns.map((column) => client.escapeIdentifier(column)).join(", ");
}
