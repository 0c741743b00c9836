import { join } from "node:path";
import type { Logger } from "pino";
import { assertNoUnfinishedRestore } from "./backup/target.ts";
import type { Config } from "./config/schema.ts";
import type { Context } from "./context.ts";
import { makeDataDir } from "./data-dir.ts";
import { openBulkhead } from "./db/bulkhead.ts";
import { type Database, listenerName, openDatabase, type Role } from "./db/database.ts";
import { assertSchemaServes, migrate } from "./db/migrator.ts";
import { openFilesystemStore } from "./drivers/media/filesystem.ts";
import { migratingStore } from "./drivers/media/migrating.ts";
import { openS3Store, prepareBucket } from "./drivers/media/s3.ts";
import { ConfigError, DependencyError } from "./errors.ts";
import { createEmit } from "./events.ts";
import { type Feature, handlersOf, jobsOf, keptData } from "./feature.ts";
import { installJobQueue, type JobQueue, openJobQueue } from "./jobs/queue.ts";
import { createNotices } from "./notices.ts";
import type { MediaStore } from "./ports/media.ts";
import { openRedis } from "./redis/redis.ts";

export interface Deps {
  readonly context: Context;
  readonly database: Database;
  /** Closes in reverse order of opening. Jobs must have been stopped before. */
  close(): Promise<void>;
}

/**
 * Opens what the configuration names, one visible switch a port.
 * @param allFeatures also those that are off: their queues exist, so that switching one on needs no migration.
 */
export async function openDeps(options: {
  config: Config;
  log: Logger;
  role: Role;
  features: readonly Feature[];
  allFeatures: readonly Feature[];
  onLost?: (error: Error) => void;
}): Promise<Deps> {
  const { config, log, role, features, allFeatures } = options;
  const opened: Array<() => Promise<void>> = [];
  const close = async () => {
    for (const closeOne of opened.reverse().splice(0)) await closeOne();
  };
  try {
    const database = await openDatabase({ config, log, role, ...(options.onLost ? { onLost: options.onLost } : {}) });
    opened.push(database.close);
    const { installed } = await prepareSchema(database, options);
    if (role !== "command") await prepareMedia(config, log, { make: installed || database.embedded !== null });
    const media = await openMediaStore(config);
    opened.push(media.close);
    const takesJobs = role === "worker" || (role === "serve" && config.worker.embedded);
    const queue = await openJobQueue(database.connection, log, takesJobs ? "worker" : "client");
    opened.push(queue.close);
    await assertQueuesThere(queue, allFeatures);
    const { notices, listen } = createNotices();
    if (role !== "command") opened.push(listen({ ...database.connection, application_name: listenerName(role) }, log));
    const bulkhead = openBulkhead(database.connection, { max: config.feed.pool_max, log });
    opened.push(bulkhead.close);
    const redis = await openRedis({ config, log, db: database.db, notices, role });
    if (redis) opened.push(() => redis.close());
    const context: Context = {
      config,
      log,
      db: database.db,
      pool: database.pool,
      bulkhead,
      redis,
      media,
      queue,
      enqueue: queue.enqueue,
      enqueueAll: queue.enqueueAll,
      emit: createEmit(handlersOf(allFeatures, features), () => context),
      notices,
      kept: keptData(allFeatures, () => context),
    };
    const off = role === "command" ? [] : allFeatures.filter((feature) => !features.includes(feature));
    for (const feature of off) await feature.off?.(context);
    return { context, database, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Applies all migrations, pg-boss' schema and the queues. @returns the names of the migrations that were applied. */
export async function migrateAll(
  database: Database,
  features: readonly Feature[],
  options: { log: Logger; onlyEmpty?: boolean },
): Promise<string[]> {
  await assertNoUnfinishedRestore(database.pool);
  const applied = await migrate(database.connection, {
    ...options,
    afterwards: () => installJobQueue(database.connection, jobsOf(features)),
  });
  return applied.map((migration) => `${String(migration.version).padStart(4, "0")}_${migration.name}`);
}

/**
 * The embedded database is this program's own and is brought up to date by `serve` and `worker`; an operator's is only
 * filled when it is empty. A command does neither for a database that is in use.
 */
async function prepareSchema(
  database: Database,
  { config, log, role, allFeatures }: { config: Config; log: Logger; role: Role; allFeatures: readonly Feature[] },
): Promise<{ installed: boolean }> {
  await assertNoUnfinishedRestore(database.pool);
  const command = role === "command";
  let applied: string[] = [];
  if (database.embedded) applied = await migrateAll(database, allFeatures, { log, onlyEmpty: command });
  else if (config.database.migrate === "auto" && !command)
    applied = await migrateAll(database, allFeatures, { log, onlyEmpty: true });
  await assertSchemaServes(database.connection);
  return { installed: applied.length > 0 };
}

/** A version may bring a queue without a migration; a job sent to a queue that is not there would be lost. */
async function assertQueuesThere(queue: JobQueue, features: readonly Feature[]): Promise<void> {
  const there = new Set((await queue.boss.getQueues()).map(({ name }) => name));
  const missing = jobsOf(features).filter(({ name }) => !there.has(name));
  if (missing.length === 0) return;
  throw new ConfigError(`the database lacks the job queues ${missing.map(({ name }) => name).join(", ")}`, {
    hint: "Run `tintype migrate`, then start again.",
  });
}

/** The configured media store; while media are being moved, the old and the new one as one. */
export async function openMediaStore(config: Config): Promise<MediaStore> {
  const { store, migrate_from } = config.media;
  const next = await openStore(config, store);
  if (migrate_from === null) return next;
  try {
    return migratingStore(next, await openStore(config, migrate_from));
  } catch (error) {
    await next.close();
    throw error;
  }
}

/** One of the stores that the configuration describes. The one that media are moved from is not made. */
export async function openStore(config: Config, kind: Config["media"]["store"]): Promise<MediaStore> {
  const folder = await makeDataDir(config.data_dir);
  if (kind === "s3") return openS3Store(withEndpoint(config));
  return openFilesystemStore(join(folder, "media"), {
    make: config.media.migrate_from !== "filesystem",
    shared: config.delivery.by === "accel",
  });
}

/** Makes what the media store needs to have been made once: the bucket. @throws ConfigError, DependencyError */
export async function installMedia(config: Config, { make }: { make: boolean }): Promise<void> {
  const { store, migrate_from } = config.media;
  if (store === "s3" || migrate_from === "s3")
    await prepareBucket(withEndpoint(config), { make: make && store === "s3" });
}

function withEndpoint({ data_dir, s3 }: Config): Parameters<typeof openS3Store>[0] {
  if (s3.endpoint === null) throw new ConfigError("there is no S3 store: s3.endpoint is not set");
  return { data_dir, s3: { ...s3, endpoint: s3.endpoint } };
}

/** A store that is down now is no reason not to start: rows can be read, and it comes back by itself. */
async function prepareMedia(config: Config, log: Logger, options: { make: boolean }): Promise<void> {
  try {
    await installMedia(config, options);
  } catch (error) {
    if (!(error instanceof DependencyError)) throw error;
    log.warn({ err: error }, "the media store does not answer; uploads are refused until it does");
  }
}
