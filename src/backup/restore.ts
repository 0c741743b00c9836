import type pg from "pg";
import type { Logger } from "pino";
import type { Config } from "../config/schema.ts";
import { Client } from "../db/client.ts";
import type { Database } from "../db/database.ts";
import { WITHOUT_TIME_LIMITS } from "../db/limits.ts";
import { migrate } from "../db/migrator.ts";
import { migrateAll } from "../deps.ts";
import { OperationError } from "../errors.ts";
import { type Feature, jobsOf } from "../feature.ts";
import { installJobQueue } from "../jobs/queue.ts";
import type { MediaStore } from "../ports/media.ts";
import { explainFailure } from "./failure.ts";
import type { Summary } from "./format.ts";
import { putObjects } from "./objects.ts";
import type { Progress } from "./progress.ts";
import type { BackupFile } from "./reader.ts";
import { openRows } from "./rows.ts";
import { assertAlone, assertEmpty, assertNotNewer, assertSameTables, assertSchemaKnown } from "./target.ts";

interface Target {
  database: Database;
  media: MediaStore;
  config: Pick<Config, "data_dir">;
  allFeatures: readonly Feature[];
  log: Logger;
}

/**
 * Fills an empty database and store with a backup that `openBackup` has verified.
 *
 * Everything that is seen of it commits at once: the rows, in one transaction, after the last object is in the store. A
 * restore that ends before leaves a note in the database, at which every process refuses to start, and objects that the
 * next try replaces by equal ones.
 * @throws OperationError when the target is not empty or in use: nothing was touched then.
 */
export async function restore(
  source: BackupFile,
  target: Target,
  options: { signal: AbortSignal; progress: Progress },
): Promise<void> {
  const { database, media, allFeatures, log } = target;
  const { manifest } = source;
  const upTo = await assertSchemaKnown(manifest);
  const client = new Client({ ...database.connection, application_name: "tintype restore" });
  await client.connect();
  try {
    // Nobody who holds a table has a place here.
    await client.query(`${WITHOUT_TIME_LIMITS}; SET lock_timeout = '10s'`);
    await assertAlone(client, await ownBackends(client, database), database.embedded !== null);
    await assertEmpty(client, media, manifest.id);
    await assertNotNewer(client, upTo);

    options.progress("schema");
    const afterwards = () => installJobQueue(database.connection, jobsOf(allFeatures));
    await migrate(database.connection, { log, upTo, afterwards });
    await assertSameTables(client, manifest);
    await client.query(
      "INSERT INTO unfinished_restores (backup_id) VALUES ($1) ON CONFLICT (single) DO UPDATE SET started_at = now()",
      [manifest.id],
    );
    await load(client, source, target, options);

    options.progress("newer migrations, statistics");
    await migrateAll(database, allFeatures, { log });
    await client.query("ANALYZE");
  } catch (error) {
    throw options.signal.aborted ? options.signal.reason : explainFailure(error);
  } finally {
    await client.end();
  }
}

/** Rows and objects as they come in the file. */
async function load(
  client: pg.Client,
  { manifest, summary, entries }: BackupFile,
  { media, config, log }: Target,
  { signal, progress }: { signal: AbortSignal; progress: Progress },
): Promise<void> {
  await client.query("BEGIN");
  const rows = await openRows(client, manifest);
  const objects = putObjects(media, config);
  const unreadable = new Set(summary.unreadable);
  try {
    for await (const { name, content } of entries()) {
      const [folder, ...path] = name.split("/");
      if (folder === "tables") {
        progress(`rows: ${path[0]}`);
        await rows.addToTable(path[0] ?? "", content());
      } else if (folder === "jobs") {
        await rows.addJobs(content());
      } else if (folder === "media") {
        const key = path.join("/");
        if (!unreadable.has(key)) await objects.put(key, content());
        progress(`media: ${objects.count} of ${summary.objects} objects`);
      }
    }
    await objects.finish();
    assertCounts(summary, { ...rows.counts, objects: objects.count });
    progress("constraints");
    await rows.finish(log);
    signal.throwIfAborted();
    await client.query("DELETE FROM unfinished_restores");
    await client.query("COMMIT");
  } catch (error) {
    await objects.finish().catch(() => undefined);
    throw error;
  }
}

function assertCounts(summary: Summary, found: Pick<Summary, "tables" | "jobs" | "objects">): void {
  const list = ({ tables, jobs, objects }: typeof found) =>
    [...Object.entries(tables), ["jobs", jobs] as const, ["objects", objects] as const]
      .filter(([, count]) => count > 0)
      .map(([name, count]) => `${name} ${count}`)
      .sort()
      .join(", ");
  if (list(summary) === list(found)) return;
  throw new OperationError(`restored is not what the backup's summary says: ${list(found)}; ${list(summary)}`);
}

/** The server's processes behind the connections that this process has. */
async function ownBackends(client: pg.Client, { pool }: Database): Promise<number[]> {
  const pids = await Promise.all(
    [client, pool].map((connection) => connection.query<{ pid: number }>("SELECT pg_backend_pid() AS pid")),
  );
  return pids.flatMap(({ rows }) => rows.map(({ pid }) => pid));
}
