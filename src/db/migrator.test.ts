import { randomBytes } from "node:crypto";
import { copyFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import pg from "pg";
import t from "tap";
import { testDatabase } from "../../test/support/database.ts";
import { exactly } from "../../test/support/exactly.ts";
import { query, silent } from "../../test/support/product/database.ts";
import { temporaryFolder, waitFor } from "../../test/support/server.ts";
import { ConfigError, OperationError } from "../errors.ts";
import { VERSION } from "../version.ts";
import { assertSchemaServes, migrate, migrationStatus, readMigrations } from "./migrator.ts";

const OURS = fileURLToPath(new URL("../../migrations/postgres/", import.meta.url));
const HEAD = "-- oldest-application: 0.1.0\n";

const { url: server } = await testDatabase(t);

type Test = Pick<typeof t, "teardown">;

/** A database with nothing in it, not even migrations. */
async function emptyDatabase(test: Test) {
  const name = `tintype_empty_${randomBytes(6).toString("hex")}`;
  await query(server, `CREATE DATABASE ${name} TEMPLATE template0`);
  test.teardown(() => query(server, `DROP DATABASE ${name} WITH (FORCE)`));
  const empty = new URL(server);
  empty.pathname = `/${name}`;
  return empty.href;
}

async function folderOf(test: Test, files: Record<string, string>) {
  const folder = await temporaryFolder(test);
  for (const [name, sql] of Object.entries(files)) await writeFile(join(folder, name), HEAD + sql);
  return folder;
}

const apply = (
  url: string,
  folder: string,
  options: { onlyEmpty?: boolean; upTo?: number; lockWait?: number; afterwards?: () => Promise<void> } = {},
) => migrate({ connectionString: url }, { log: silent, folder, ...options });

const applied = async (url: string) =>
  (await query(url, "SELECT version FROM schema_migrations ORDER BY version")).map(({ version }) => version);

const failureOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => null,
    (error: unknown) => error,
  );

const exists = async (url: string, relation: string) =>
  (await query(url, "SELECT to_regclass($1) IS NOT NULL AS there", [relation]))[0]?.there === true;

t.test("of five that start at once, one applies each file and the others find it done", async (t) => {
  const url = await emptyDatabase(t);
  const folder = await folderOf(t, {
    "0001_one.sql": "CREATE TABLE one (n int); SELECT pg_sleep(0.1);",
    "0002_two.sql": "INSERT INTO one VALUES (1);",
    // It waits for every transaction that runs, and so would for whoever waits for the lock inside of one.
    "0003_three.sql": "-- no-transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS one_n ON one (n);",
  });
  let inside = 0;
  let most = 0;
  const afterwards = async () => {
    most = Math.max(most, ++inside);
    await query(url, "SELECT pg_sleep(0.02)");
    inside--;
  };
  const results = await Promise.all(Array.from({ length: 5 }, () => apply(url, folder, { afterwards })));
  t.same(results.map((migrations) => migrations.length).sort(), [0, 0, 0, 0, 3]);
  t.same(await query(url, "SELECT count(*)::int AS n FROM one"), [{ n: 1 }]);
  t.equal(most, 1, "what comes afterwards runs under the same lock");
});

t.test("a file that fails leaves nothing of itself and all that came before it", async (t) => {
  const url = await emptyDatabase(t);
  const folder = await folderOf(t, {
    "0001_good.sql": "CREATE TABLE good ();",
    "0002_bad.sql": "CREATE TABLE half (); SELECT 1 / 0;",
    "0003_never.sql": "CREATE TABLE never ();",
  });
  await t.rejects(apply(url, folder), { constructor: OperationError, message: /0*2 \(bad\) failed: division by zero/ });
  t.same(await applied(url), [1]);
  t.same([await exists(url, "good"), await exists(url, "half"), await exists(url, "never")], [true, false, false]);

  await writeFile(join(folder, "0002_bad.sql"), `${HEAD}CREATE TABLE half ();`);
  t.match(await apply(url, folder), exactly({ name: "bad" }, { name: "never" }), "it goes on where it stopped");
});

t.test("a file that was applied is never edited", async (t) => {
  const url = await emptyDatabase(t);
  const folder = await folderOf(t, { "0001_one.sql": "CREATE TABLE one ();" });
  await apply(url, folder);
  await writeFile(join(folder, "0001_one.sql"), `${HEAD}CREATE TABLE one (n int);`);
  await writeFile(join(folder, "0002_two.sql"), `${HEAD}CREATE TABLE two ();`);
  await t.rejects(apply(url, folder), { constructor: OperationError, message: /\(one\) was changed/ });
  t.equal(await exists(url, "two"), false);
});

t.test("a no-transaction file may build an index concurrently", async (t) => {
  const url = await emptyDatabase(t);
  const statements = `-- no-transaction
-- A comment; with a semicolon.
CREATE INDEX CONCURRENTLY IF NOT EXISTS one_a ON one (a);

CREATE INDEX CONCURRENTLY IF NOT EXISTS one_b ON one (b) WHERE b <> ';';
-- The end.
`;
  const folder = await folderOf(t, {
    "0001_one.sql": "CREATE TABLE one (a int, b text);",
    "0002_index.sql": statements,
  });
  await apply(url, folder);
  t.same(await applied(url), [1, 2]);
  t.same([await exists(url, "one_a"), await exists(url, "one_b")], [true, true]);

  await writeFile(
    join(folder, "0003_broken.sql"),
    `${HEAD}-- no-transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS one_ab ON one (a, b);\nSELECT 1 / 0;\n`,
  );
  const failure = await failureOf(apply(url, folder));
  t.match(failure, { constructor: OperationError, message: /broken/ });
  t.notMatch(failure, { hint: /Nothing of it was kept/ }, "the first statement was kept");
  t.equal(await exists(url, "one_ab"), true);
  t.same(await applied(url), [1, 2], "it is not recorded");
});

t.test("a migration that waits for a lock lets others by, and is tried again", async (t) => {
  const url = await emptyDatabase(t);
  const folder = await folderOf(t, {
    "0001_one.sql": "CREATE TABLE one (); CREATE SEQUENCE tries;",
    "0002_two.sql": "ALTER TABLE one ADD COLUMN n int;",
    "0003_three.sql": `DO $$ BEGIN
      IF nextval('tries') < 3 THEN RAISE EXCEPTION 'as in a deadlock' USING ERRCODE = '40P01'; END IF;
    END $$;`,
  });
  await apply(url, folder, { upTo: 1 });
  const holder = new pg.Client(url);
  await holder.connect();
  await holder.query("BEGIN; LOCK TABLE one IN ACCESS SHARE MODE");
  const migrated = apply(url, folder, { lockWait: 50 });
  await waitFor(
    async () => (await query(url, "SELECT FROM pg_locks WHERE NOT granted AND relation = 'one'::regclass")).length > 0,
    "the migration to wait",
  );
  t.same(await query(url, "SELECT FROM one"), [], "it is in nobody's way for long");
  await holder.end();
  t.match(await migrated, exactly({ name: "two" }, { name: "three" }));
  t.same(await query(url, "SELECT last_value::int AS n FROM tries"), [{ n: 3 }]);
});

t.test("an operator's database is only migrated by itself when it is empty", async (t) => {
  const url = await emptyDatabase(t);
  const folder = await folderOf(t, { "0001_one.sql": "CREATE TABLE one ();" });
  t.equal((await apply(url, folder, { onlyEmpty: true })).length, 1);
  await writeFile(join(folder, "0002_two.sql"), `${HEAD}CREATE TABLE two ();`);
  let ran = false;
  const afterwards = async () => {
    ran = true;
  };
  t.same(await apply(url, folder, { onlyEmpty: true, afterwards }), []);
  t.equal(ran, false);
  t.equal(await exists(url, "two"), false);
});

t.test("a restore stops at the schema of its backup, and goes on from there", async (t) => {
  const url = await emptyDatabase(t);
  const folder = await folderOf(t, {
    "0001_one.sql": "CREATE TABLE one ();",
    "0002_two.sql": "CREATE TABLE two ();",
    "0003_three.sql": "CREATE TABLE three ();",
  });
  t.match(await apply(url, folder, { upTo: 2 }), exactly({ name: "one" }, { name: "two" }));
  t.same(await applied(url), [1, 2]);
  t.match(await apply(url, folder), exactly({ name: "three" }));
});

t.test("what is no migration is refused by name", async (t) => {
  for (const [name, text] of [
    ["1_short.sql", `${HEAD}SELECT 1;`],
    ["0001_Upper.sql", `${HEAD}SELECT 1;`],
    ["0001_headless.sql", "SELECT 1;"],
  ] as const) {
    const folder = await temporaryFolder(t);
    await writeFile(join(folder, name), text);
    await t.rejects(readMigrations(folder), { constructor: OperationError, message: new RegExp(name) });
  }
  const twice = await folderOf(t, { "0001_one.sql": "SELECT 1;", "0001_two.sql": "SELECT 2;" });
  await t.rejects(readMigrations(twice), { constructor: OperationError, message: /0001_two\.sql/ });
});

t.test("which schemas this version works with", async (t) => {
  const url = await emptyDatabase(t);
  const connection = { connectionString: url };
  t.match(await failureOf(assertSchemaServes(connection)), { constructor: ConfigError, hint: /tintype migrate/ });

  const files = (await readdir(OURS)).sort();
  const folder = await temporaryFolder(t);
  const last = files.pop() ?? "";
  for (const file of files) await copyFile(join(OURS, file), join(folder, file));
  await apply(url, folder);
  await t.rejects(
    assertSchemaServes(connection),
    { constructor: ConfigError, message: /lacks 1 of/ },
    "one is missing",
  );
  const status = await migrationStatus(connection);
  t.equal(status.length, files.length + 1);
  t.same([status.at(-2)?.applied_at instanceof Date, status.at(-1)?.applied_at], [true, null]);

  await copyFile(join(OURS, last), join(folder, last));
  await apply(url, folder);
  await assertSchemaServes(connection);

  const newer = (version: number, oldest: string) =>
    query(
      url,
      "INSERT INTO schema_migrations (version, name, checksum, oldest_application) VALUES ($1, 'future', '', $2)",
      [version, oldest],
    );
  await newer(9001, VERSION);
  await assertSchemaServes(connection);
  t.same(await migrate(connection, { log: silent }), [], "an older migrate finds nothing to do");
  await newer(9002, "99.10.0");
  t.match(await failureOf(assertSchemaServes(connection)), { constructor: ConfigError, hint: /99\.10\.0/ });
  await t.resolves(assertSchemaServes(connection, "99.10.0"));
  await t.rejects(assertSchemaServes(connection, "99.9.9"), ConfigError, "versions are compared as numbers");

  await query(url, "DELETE FROM schema_migrations WHERE version > 9000");
  await query(url, "UPDATE schema_migrations SET checksum = 'other' WHERE version = 1");
  await t.rejects(assertSchemaServes(connection), OperationError, "a changed one");
});
