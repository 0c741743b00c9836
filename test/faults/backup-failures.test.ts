import { execFile } from "node:child_process";
import { mkdir, readdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import t from "tap";
import { brake, emptyTarget, folder, objectsOf, objectsOfMedium, query, tintype } from "../support/backup.ts";
import type { Json } from "../support/client.ts";
import { picture } from "../support/pictures.ts";
import { start, waitFor } from "../support/server.ts";
import { publish, startService } from "../support/service.ts";

const small = () => picture({ width: 64, height: 48 });

t.test("a backup that is stopped leaves nothing; one that is killed holds deletions up for seconds", async (t) => {
  const source = await startService(t);
  const ana = await source.client.register("ana");
  const post = await publish(ana, [await small()]);
  const files = await folder(t);
  const file = join(files, "a.tar");
  await writeFile(file, "an older one");

  for (const signal of ["SIGINT", "SIGTERM", "SIGKILL"] as const) {
    const held = await brake(t, source.databaseUrl, "reserved_usernames");
    const backup = start(["backup", file, "--force"], source.env);
    await waitFor(held.waiting, "the backup to be in the middle");
    backup.process.kill(signal);
    t.equal(await backup.exited, signal === "SIGKILL" ? signal : 1);
    await held.release();
    if (signal !== "SIGKILL") {
      t.match(backup.output(), "interrupted");
      t.strictSame(await readdir(files), ["a.tar"]);
    }
    t.equal(await readFile(file, "utf8"), "an older one");
  }
  await ana.request("DELETE", `/posts/${post.id}`);
  await waitFor(async () => (await objectsOfMedium(source, post.media[0].id)).length === 0, "the objects to go");
  t.match((await tintype(["backup", file], source.env, 1)).error, { message: /is there already/ });
  t.equal((await tintype(["backup", join(files, "none", "a.tar")], source.env, 1)).error.code, "OperationError");
  await tintype(["backup", file, "--force"], source.env);
  t.strictSame(await readdir(files), ["a.tar"], "what the killed one left is gone");
});

t.test("objects that are missing or damaged are named; the rest is kept", async (t) => {
  const source = await startService(t);
  const ana = await source.client.register("ana");
  await publish(ana, [await small(), await small()]);
  const [missing = "", unreadable = "", damaged = ""] = Object.keys(await objectsOf(source.dataDir)).filter((key) =>
    key.endsWith("webp"),
  );
  await rm(join(source.dataDir, "media", missing));
  // It is opened, and fails when it is read.
  await rm(join(source.dataDir, "media", unreadable));
  await mkdir(join(source.dataDir, "media", unreadable));
  const path = join(source.dataDir, "media", damaged);
  const bytes = await readFile(path);
  bytes[20] = (bytes[20] ?? 0) ^ 1;
  await writeFile(path, bytes);
  const file = join(await folder(t), "a.tar");
  const report = await tintype(["backup", file], source.env, 1);
  const sorted = (said: Json) => ({ ...said, damaged: said.damaged.sort() });
  const named = { objects: 8, missing: [missing], damaged: [unreadable, damaged].sort(), unreadable: [unreadable] };
  t.match(sorted(report), named);
  const target = await emptyTarget(t);
  t.match(sorted(await tintype(["restore", file, "--dry-run"], target.env)), named);
  t.match(sorted(await tintype(["restore", file], target.env)), named);
  t.strictSame(await objectsOf(target.dataDir), await objectsOf(source.dataDir));
});

/** Gives a database every limit of time that the server knows, for connections to come. */
async function limitTimes(databaseUrl: string): Promise<void> {
  const settings = await query(
    databaseUrl,
    "SELECT name FROM pg_settings WHERE name ~ '_timeout$' AND context = 'user'",
  );
  const limits = settings
    .map(({ name }) => name)
    .filter((name) => /^(statement|transaction|idle_session|idle_in_transaction_session)_/.test(name));
  const database = new URL(databaseUrl).pathname.slice(1);
  await query(databaseUrl, limits.map((name) => `ALTER DATABASE ${database} SET ${name} = '500ms'`).join(";"));
}

/** Whether a process of that name has waited for a lock for longer than the limits. */
async function waitsLong(databaseUrl: string, application: string): Promise<boolean> {
  const rows = await query(
    databaseUrl,
    `SELECT FROM pg_stat_activity WHERE application_name = '${application}' AND wait_event_type = 'Lock'
       AND clock_timestamp() - query_start > interval '1 second'`,
  );
  return rows.length > 0;
}

t.test("a server's limits for websites end neither a backup nor a restore", async (t) => {
  const source = await startService(t);
  await publish(await source.client.register("ana"), [await small()]);
  await source.server.stop();
  const file = join(await folder(t), "a.tar");

  const held = await brake(t, source.databaseUrl, "users");
  const other = new pg.Client({ connectionString: source.databaseUrl });
  await other.connect();
  t.teardown(() => other.end());
  await limitTimes(source.databaseUrl);
  const backup = start(["backup", file], source.env);
  const long = () => waitsLong(source.databaseUrl, "tintype backup");
  await waitFor(long, "a statement to take long");
  // The rows of media are copied and the table is held, so this waits; and the list of objects, behind it.
  const lock = other
    .query("SET lock_timeout = '15s'; LOCK TABLE media IN ACCESS EXCLUSIVE MODE")
    .catch(() => undefined);
  const locking = `SELECT FROM pg_locks JOIN pg_database ON pg_database.oid = database
    WHERE datname = current_database() AND mode = 'AccessExclusiveLock' AND NOT granted`;
  await waitFor(async () => (await query(source.databaseUrl, locking)).length > 0, "it to wait");
  await held.release();
  await waitFor(
    async () =>
      (await long()) &&
      (
        await query(
          source.databaseUrl,
          `SELECT FROM pg_stat_activity WHERE application_name = 'tintype backup' AND state = 'idle in transaction'
             AND clock_timestamp() - state_change > interval '1 second'`,
        )
      ).length > 0,
    "a transaction to be idle for long",
  );
  await query(
    source.databaseUrl,
    "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE '%LOCK TABLE media%' AND pid <> pg_backend_pid()",
  );
  await lock;
  t.equal(await backup.exited, 0, backup.output());

  const target = await emptyTarget(t);
  await tintype(["migrate"], target.env);
  const atEnd = await brake(t, target.databaseUrl, "pgboss.job", "SHARE");
  await limitTimes(target.databaseUrl);
  const restore = start(["restore", file], target.env);
  await waitFor(() => waitsLong(target.databaseUrl, "tintype restore"), "a statement to take long");
  await atEnd.release();
  t.equal(await restore.exited, 0, restore.output());
});

t.test("the nightly script of the documentation keeps the last 14, whatever the backup said", async (t) => {
  const text = await readFile(new URL("../../docs/operations.md", import.meta.url), "utf8");
  const script = /```sh\n(#!\/bin\/sh\n[^`]*)```/.exec(text)?.[1] ?? "";
  const [program, backups] = [await folder(t), await folder(t)];
  await mkdir(join(program, "node_modules", ".bin"), { recursive: true });
  const node = join(program, "node_modules", ".bin", "node");
  await writeFile(node, '#!/bin/sh\n: >"$3"\nexit 1\n', { mode: 0o755 });
  const days = Array.from({ length: 20 }, (_, day) => `tintype-2020-01-${day + 10}.tar`);
  const [old, young] = [`${days[0]}.00000000.part`, `${days[0]}.11111111.part`];
  for (const name of [...days, old, young]) await writeFile(join(backups, name), "");
  await utimes(join(backups, old), 0, 0);
  const own = script.replaceAll("/opt/tintype", program).replaceAll("/backups", backups);
  await t.rejects(promisify(execFile)("sh", ["-c", own]), { code: 1 }, "the backup's own exit");
  const left = await readdir(backups);
  t.strictSame(
    left.filter((name) => days.includes(name)),
    days.slice(-13),
  );
  t.ok(left.includes(young) && !left.includes(old));
  t.equal(left.length, 15, "and the new one");
});
