import { stat } from "node:fs/promises";
import type pg from "pg";
import { type Migration, readMigrations } from "../db/migrator.ts";
import { ConfigError, OperationError } from "../errors.ts";
import type { MediaStore } from "../ports/media.ts";
import { readTables } from "./catalog.ts";
import type { Manifest, Table } from "./format.ts";

const BEGIN_ANEW = "give it a database of its own and an empty data dir";

/**
 * Refuses a backup that this program cannot bring up to date.
 * @returns the last of the backup's migrations.
 */
export async function assertSchemaKnown({ migrations, application }: Manifest): Promise<number> {
  const upTo = migrations.at(-1)?.version ?? 0;
  const known = await readMigrations();
  const newest = known.at(-1)?.version ?? 0;
  if (upTo > newest) {
    throw new OperationError(
      `the backup was made by a newer tintype (${application}, schema ${upTo}; this one: ${newest})`,
      {
        hint: `Restore it with tintype ${application} or newer.`,
      },
    );
  }
  const mark = (list: readonly Pick<Migration, "version" | "checksum">[]) =>
    list.map(({ version, checksum }) => `${version} ${checksum}`).join();
  if (mark(migrations) !== mark(known.filter(({ version }) => version <= upTo))) {
    throw new OperationError(`the backup has a schema that this tintype never had: its migrations differ`, {
      hint: `Restore it with the tintype that made it (${application}).`,
    });
  }
  return upTo;
}

/**
 * Refuses a database on which another process of this program is.
 * @param own the server's processes that serve this one.
 */
export async function assertAlone(client: pg.ClientBase, own: readonly number[], embedded: boolean): Promise<void> {
  const { rows } = await client.query<{ application_name: string }>(
    `SELECT application_name FROM pg_stat_activity
     WHERE application_name LIKE 'tintype %' AND pid <> ALL ($1)
       AND (datname = current_database()
         -- Of an embedded server, each process holds a connection there for as long as it runs.
         OR $2 AND datname = 'postgres' AND application_name NOT LIKE $3)
     LIMIT 1`,
    [own, embedded, `tintype % ${process.pid}`],
  );
  if (rows[0]) {
    throw new OperationError(`another process is on this database: ${rows[0].application_name}`, {
      hint: "Stop every tintype on it first.",
    });
  }
}

/** Refuses a database that another program uses, before anything is made for it. */
export async function assertNotForeign(client: Pick<pg.ClientBase, "query">): Promise<void> {
  if (await exists(client, "public.schema_migrations")) return;
  const [table] = await readTables(client);
  const foreign = table?.name ?? ((await exists(client, "pgboss.job")) ? "pgboss.job" : null);
  if (foreign === null) return;
  throw new OperationError(`the database has tables of another program: ${foreign}`, {
    hint: "A restore fills a new service: give it a database of its own.",
  });
}

/**
 * Refuses a data dir that is there and belongs to somebody else: what root puts there, its owner could not read.
 * @throws ConfigError
 */
export async function assertOwnDataDir(path: string): Promise<void> {
  const found = await stat(path).catch(() => null);
  const uid = process.getuid?.();
  if (!found || uid !== 0 || found.uid === uid) return;
  throw new ConfigError(`the data dir ${path} belongs to user id ${found.uid}, this process runs as root`, {
    hint: `Restore as who runs serve: sudo -u '#${found.uid}' tintype restore. If that is root: chown root ${path}.`,
  });
}

/**
 * Refuses a database or a store with something in it. Rows that a migration wrote count as nothing: they were written
 * by the transaction that wrote down the migration.
 * @param backupId what the restore that was not finished here may have been of.
 */
export async function assertEmpty(client: pg.ClientBase, media: MediaStore, backupId: string): Promise<void> {
  const unfinished = await unfinishedRestore(client);
  if (unfinished !== null && unfinished.backup_id !== backupId) {
    throw new OperationError("the restore of another backup was not finished here", {
      hint: `Finish that one, or ${BEGIN_ANEW}.`,
    });
  }
  await assertWithoutRows(client, await readTables(client));
  if (unfinished === null && !(await media.isEmpty())) {
    throw new OperationError("the media store is not empty", { hint: `A restore fills a new service: ${BEGIN_ANEW}.` });
  }
}

export async function assertWithoutRows(client: pg.ClientBase, tables: readonly Table[]): Promise<void> {
  for (const { name } of tables) {
    const { rows } = await client.query<{ used: boolean }>(
      `SELECT EXISTS (SELECT FROM ${client.escapeIdentifier(name)}
         WHERE xmin <> ALL (ARRAY(SELECT xmin FROM schema_migrations))) AS used`,
    );
    if (rows[0]?.used) {
      throw new OperationError(`the database is not empty: ${name} has rows`, {
        hint: `A restore fills a new service: ${BEGIN_ANEW}.`,
      });
    }
  }
}

/** Refuses a schema that is newer than the backup's: rows cannot be put into what they were never migrated to. */
export async function assertNotNewer(client: pg.ClientBase, upTo: number): Promise<void> {
  if (!(await exists(client, "public.schema_migrations"))) return;
  const { rows } = await client.query<{ version: number }>("SELECT max(version) AS version FROM schema_migrations");
  const version = rows[0]?.version ?? 0;
  if (version <= upTo) return;
  throw new OperationError(`the database was migrated to ${version} already, the backup is of schema ${upTo}`, {
    hint: "Give it a database that no tintype has migrated: restore brings its schema with it.",
  });
}

/** Refuses tables that are not those of the backup. */
export async function assertSameTables(client: pg.ClientBase, { tables }: Manifest): Promise<void> {
  const mark = ({ name, columns }: Table) => `${name} (${[...columns].sort().join(", ")})`;
  const [wanted, found] = [tables.map(mark), (await readTables(client)).map(mark)];
  const different = [
    ...wanted.filter((table) => !found.includes(table)),
    ...found.filter((table) => !wanted.includes(table)),
  ];
  if (different.length === 0) return;
  throw new OperationError(`the tables of the backup and of the database differ: ${different.join("; ")}`, {
    hint: "Somebody changed the schema by hand, or keeps tables of another program beside it: move them away.",
  });
}

/**
 * Refuses a database that was half restored: it looks like a new one.
 * @throws ConfigError
 */
export async function assertNoUnfinishedRestore(client: Pick<pg.ClientBase, "query">): Promise<void> {
  const unfinished = await unfinishedRestore(client);
  if (unfinished === null) return;
  throw new ConfigError(
    `a restore into this database was begun at ${unfinished.started_at.toISOString()} and not finished`,
    {
      hint: `Run \`tintype restore\` with the same file again; or ${BEGIN_ANEW}.`,
    },
  );
}

async function unfinishedRestore(
  client: Pick<pg.ClientBase, "query">,
): Promise<{ backup_id: string; started_at: Date } | null> {
  if (!(await exists(client, "public.unfinished_restores"))) return null;
  const { rows } = await client.query<{ backup_id: string; started_at: Date }>(
    "SELECT backup_id, started_at FROM unfinished_restores",
  );
  return rows[0] ?? null;
}

/** @param table with its schema. */
async function exists(client: Pick<pg.ClientBase, "query">, table: string): Promise<boolean> {
  const { rows } = await client.query<{ there: boolean }>("SELECT to_regclass($1) IS NOT NULL AS there", [table]);
  return rows[0]?.there ?? false;
}
