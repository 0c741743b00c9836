import { statfs } from "node:fs/promises";
import { join } from "node:path";
import { sql } from "kysely";
import type { Logger } from "pino";
import type { Config } from "./config/schema.ts";
import { formatSize } from "./config/units.ts";
import { type Database, describe, listenerName, openDatabase } from "./db/database.ts";
import { inspectEmbeddedPostgres } from "./db/embedded.ts";
import { migrationStatus } from "./db/migrator.ts";
import type { Db } from "./db/transaction.ts";
import { installMedia, openMediaStore } from "./deps.ts";
import { DependencyError, ExitError, OperationError } from "./errors.ts";
import type { Feature, Warning } from "./feature.ts";
import { isBehindProxy } from "./http/proxies.ts";
import { jobStatus } from "./jobs/admin.ts";
import { openMailer } from "./mail.ts";
import { examineRedis } from "./redis/inspect.ts";
import { checkStaging } from "./staging.ts";

export interface Check {
  name: string;
  state: "ok" | "warning" | "failed";
  message: string;
  /** What to do about it. */
  mend: string | null;
  /** Whether it is a dependency that is down, rather than something in the program or its set-up. */
  dependency: boolean;
}

interface Outcome {
  message: string;
  /** Works, but the operator should know. */
  warning?: string;
}

/** The oldest Postgres that is taken, as `server_version_num`. */
const OLDEST_POSTGRES = 150_000;
/** Major version, as Valkey names it too. */
const OLDEST_REDIS = 7;
/** Seconds. */
const LONG_WAIT = 60;
const LITTLE_SPACE = 1024 ** 3;
/** More than this between our clock and the database's, in milliseconds, and times in answers look wrong. */
const CLOCK_SKEW = 2_000;

/** Tries everything that the program needs, one after the other; what depends on a failed check is left out. */
export async function examine(options: {
  config: Config;
  log: Logger;
  features: readonly Feature[];
  allFeatures: readonly Feature[];
}): Promise<Check[]> {
  const { config, log, features, allFeatures } = options;
  const checks: Check[] = [];
  const check = async (name: string, dependency: boolean, work: () => Promise<Outcome>) => {
    const result = await attempt(name, dependency, work);
    checks.push(result);
    return result.state !== "failed";
  };

  await check("node", false, async () => ({ message: `version ${process.versions.node}` }));
  await check("features", false, async () => {
    const off = allFeatures.filter((feature) => !features.includes(feature)).map((feature) => feature.name);
    return {
      message: `on: ${features.map((feature) => feature.name).join(", ")}${off.length > 0 ? `; off: ${off.join(", ")}` : ""}`,
    };
  });
  await check("pictures", false, async () => {
    // Asked for here and not imported: a broken native part must be a finding, not the end of doctor.
    const { default: sharp } = await import("sharp");
    return { message: `libvips ${sharp.versions.vips}` };
  });
  await check("media store", true, () => examineMedia(config));
  await check("staging", true, () => examineStaging(config));
  if (config.smtp.url !== null) await check("mail", true, () => examineMail(config));
  if (isBehindProxy(config)) await check("proxy", false, async () => examineProxy(config));
  const { url: redis } = config.redis;
  if (redis !== null) await check("redis", true, () => examineFeedRedis(redis));

  const fresh = config.database.url === null && !(await inspectEmbeddedPostgres(config.data_dir)).initialized;
  if (fresh) {
    await check("postgres", true, async () => ({ message: "embedded, not made yet; `tintype serve` makes it" }));
    return checks;
  }
  let database: Database | undefined;
  const opened = await check("postgres", true, async () => {
    database = await openDatabase({ config, log, role: "command" });
    return examinePostgres(database);
  });
  if (opened && database) {
    const { connection, db, embedded } = database;
    const missing = (await migrationStatus(connection)).filter((migration) => migration.applied_at === null).length;
    await check("schema", false, async () => examineSchema(missing, embedded !== null));
    if (missing === 0) {
      await check("jobs", false, () => examineJobs(db));
      for (const { name, warnings } of features) {
        if (warnings) await check(name, false, async () => warned(await warnings({ config, db })));
      }
    }
    const limited = config.limits.enabled && features.some(({ name }) => name === "limits");
    if (redis === null && limited) await check("limits", false, () => examineLimits(db));
  }
  await database?.close();
  return checks;
}

async function examineMedia(config: Config): Promise<Outcome> {
  const { bucket, endpoint } = config.s3;
  const started = performance.now();
  await installMedia(config, { make: false });
  const store = await openMediaStore(config);
  try {
    await store.check();
  } finally {
    await store.close();
  }
  if (endpoint !== null) {
    return { message: `bucket ${bucket} at ${endpoint}, written to in ${Math.round(performance.now() - started)} ms` };
  }
  return examineSpace(join(config.data_dir, "media"));
}

async function examineMail(config: Config): Promise<Outcome> {
  const mailer = openMailer(config.smtp);
  try {
    await mailer?.verify();
  } catch (error) {
    throw new DependencyError(describe(error), {
      hint: "Look at TINTYPE_SMTP_URL, and whether this machine may reach that server.",
    });
  }
  return { message: `${mailer?.server} lets us send` };
}

async function examineFeedRedis(url: string): Promise<Outcome> {
  const { product, version, compatible, cluster, masters, evicts, answered_ms } = await examineRedis(url);
  if (Number.parseInt(compatible, 10) < OLDEST_REDIS) {
    throw new OperationError(`Redis ${compatible} is older than ${OLDEST_REDIS}`, {
      hint: `Install Redis or Valkey ${OLDEST_REDIS} or newer; there is nothing to move.`,
    });
  }
  const where = cluster ? `, a cluster of ${masters} ${masters === 1 ? "master" : "masters"}` : "";
  const message = `${product} ${version}${where}, answered in ${answered_ms} ms`;
  if (evicts === null || evicts === "noeviction") return { message };
  // All keys have a time to live, so the volatile policies spare none of them either.
  const warning = `with maxmemory-policy ${evicts} a full Redis may drop the note that a timeline has changed, and an older state of it may be kept; set noeviction, with which feeds then come from Postgres`;
  return { message, warning: `${message}; ${warning}` };
}

function examineProxy({ public_url, http: { trust_proxy } }: Config): Outcome {
  if (trust_proxy.length > 0) return { message: `trusted: ${trust_proxy.join(", ")}` };
  const message = `${public_url} is not where this server listens`;
  return {
    message,
    warning: `${message}, so there is a proxy; set TINTYPE_HTTP_TRUST_PROXY to its address, or all who come through it are one for the limits, and a few wrong passwords keep everybody from signing in`,
  };
}

async function examineStaging(config: Config): Promise<Outcome> {
  await checkStaging(config);
  return examineSpace(join(config.data_dir, "staging"));
}

/** Each folder may be a disk of its own. */
async function examineSpace(folder: string): Promise<Outcome> {
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  const unit = free < LITTLE_SPACE ? 1024 ** 2 : LITTLE_SPACE;
  const shown = formatSize(Math.floor(free / unit) * unit);
  const message = `files in ${folder}, ${shown} free`;
  return free < LITTLE_SPACE ? { message, warning: `only ${shown} are free in ${folder}` } : { message };
}

async function examinePostgres({ pool, embedded }: Database): Promise<Outcome> {
  const before = Date.now();
  const { rows } = await pool.query<{ version: number; now: Date }>(
    "SELECT current_setting('server_version_num')::int AS version, clock_timestamp() AS now",
  );
  const [row] = rows;
  if (!row) throw new Error("Postgres gave no answer");
  if (row.version < OLDEST_POSTGRES) {
    throw new OperationError("Postgres is older than 15", { hint: "Install 15 or newer, and move the data there." });
  }
  const message = `${embedded ? "embedded, " : ""}version ${Math.floor(row.version / 10_000)}, answered in ${Date.now() - before} ms`;
  const skew = Math.abs(row.now.getTime() - (before + Date.now()) / 2);
  return skew > CLOCK_SKEW
    ? { message, warning: `its clock differs from this machine's by ${Math.round(skew / 1000)} s; run an NTP client` }
    : { message };
}

function examineSchema(missing: number, embedded: boolean): Outcome {
  if (missing === 0) return { message: "up to date" };
  if (embedded) return { message: `${missing} migrations to come; \`tintype serve\` applies them by itself` };
  throw new OperationError(`${missing} migrations are missing`, { hint: "Run `tintype migrate`." });
}

async function examineJobs(db: Db): Promise<Outcome> {
  const queues = await jobStatus(db);
  const failed = queues.reduce((sum, queue) => sum + queue.failed, 0);
  const waits = queues.flatMap((queue) => queue.oldest_seconds ?? []);
  const oldest = Math.max(0, ...waits);
  const message = `${waits.length === 0 ? "none waits" : `the oldest waits ${Math.round(oldest)} s`}, ${failed} failed for good`;
  if (oldest > LONG_WAIT) return { message, warning: `${message}; is a worker running?` };
  if (failed > 0) return { message, warning: `${message}; see \`tintype jobs list --failed\`` };
  return { message };
}

function warned(warnings: readonly Warning[]): Outcome {
  const message = warnings.map((warning) => warning.message).join("; ");
  return message === "" ? { message: "nothing to warn of" } : { message, warning: message };
}

/** Without Redis what one server counts no other knows. */
async function examineLimits(db: Db): Promise<Outcome> {
  const { rows } = await sql<{ servers: number }>`
    SELECT count(*)::int AS servers FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = ${listenerName("serve")}`.execute(db);
  const servers = rows[0]?.servers ?? 0;
  const message = "kept by each server for itself";
  if (servers < 2) return { message };
  return {
    message,
    warning: `${servers} servers share this database, and each keeps the limits for itself, so ${servers} times as much is let in; give them a Redis (TINTYPE_REDIS_URL)`,
  };
}

async function attempt(name: string, dependency: boolean, work: () => Promise<Outcome>): Promise<Check> {
  try {
    const { message, warning } = await work();
    return { name, state: warning ? "warning" : "ok", message: warning ?? message, mend: null, dependency };
  } catch (error) {
    const mend = error instanceof ExitError ? (error.hint ?? null) : null;
    return { name, state: "failed", message: describe(error), mend, dependency };
  }
}
