import { access, chown, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { afterwards, brake, emptyTarget, folder, objectsOf, query, rowsOf, serve, tintype } from "../support/backup.ts";
import { picture } from "../support/pictures.ts";
import { run, start, waitFor } from "../support/server.ts";
import { publish, startService } from "../support/service.ts";

const small = () => picture({ width: 64, height: 48 });

const isThere = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );

t.test("what is no backup, cut or altered is refused before anything is touched", async (t) => {
  const source = await startService(t);
  await publish(await source.client.register("ana"), [await small()]);
  const files = await folder(t);
  const good = join(files, "good.tar");
  await tintype(["backup", good], source.env);
  const bytes = await readFile(good);
  const flipped = (at: number) => {
    const copy = Buffer.from(bytes);
    copy[at] = (copy[at] ?? 0) ^ 0x10;
    return copy;
  };
  const manifestBytes = Number.parseInt(bytes.toString("latin1", 124, 135), 8);
  const wrong: Record<string, Buffer> = {
    "another tar": bytes.subarray(512 + Math.ceil(manifestBytes / 512) * 512),
    empty: Buffer.alloc(0),
    text: Buffer.from("not a backup\n".repeat(1_000)),
    "without its last byte": bytes.subarray(0, -1),
    "cut in half": bytes.subarray(0, bytes.length >> 1),
    "with a byte more": Buffer.concat([bytes, Buffer.alloc(1)]),
    "twice itself": Buffer.concat([bytes, bytes]),
    "altered in the manifest": flipped(600),
    "altered in the middle": flipped(bytes.length >> 1),
    "altered in its last byte": flipped(bytes.length - 1),
  };
  const target = await emptyTarget(t);
  const file = join(files, "wrong.tar");
  for (const [what, content] of Object.entries(wrong)) {
    await writeFile(file, content);
    const { error } = await tintype(["restore", file], target.env, 1);
    t.match(error, { code: "OperationError", message: /not a backup|cut off|not as it was written/ }, what);
  }
  t.match((await tintype(["restore", join(files, "absent")], target.env, 1)).error.message, /cannot be read/);
  t.strictSame(await query(target.databaseUrl, "SELECT FROM pg_tables WHERE schemaname IN ('public', 'pgboss')"), []);
  t.notOk(await isThere(target.dataDir));

  const before = await rowsOf(source.databaseUrl);
  t.match((await tintype(["restore", good], source.env, 1)).error.message, /another process/, "while it is served");
  await source.server.stop();
  t.match((await tintype(["restore", good], source.env, 1)).error.message, /not empty/);
  t.strictSame(await rowsOf(source.databaseUrl), before);
  const otherData = { ...target.env, TINTYPE_DATA_DIR: source.dataDir };
  t.match((await tintype(["restore", good], otherData, 1)).error.message, /store is not empty/);
  t.strictSame(await query(target.databaseUrl, "SELECT FROM pg_tables WHERE schemaname IN ('public', 'pgboss')"), []);

  await query(target.databaseUrl, "CREATE TABLE of_somebody_else (id int)");
  const { error } = await tintype(["restore", good], target.env, 1);
  t.match(error.message, /tables of another program: of_somebody_else/);
  await query(
    target.databaseUrl,
    "DROP TABLE of_somebody_else; CREATE SCHEMA pgboss; CREATE TABLE pgboss.job (id int)",
  );
  t.match((await tintype(["restore", good], target.env, 1)).error.message, /tables of another program: pgboss.job/);
  await query(target.databaseUrl, "DROP SCHEMA pgboss CASCADE");
  t.notOk(await isThere(target.dataDir), "nor was a store made");
  if (process.getuid?.() === 0) {
    await mkdir(target.dataDir);
    await chown(target.dataDir, 12_345, 12_345);
    t.match((await tintype(["restore", good], target.env, 3)).error.message, /belongs to user id 12345/);
    t.strictSame(await readdir(target.dataDir), []);
    await chown(target.dataDir, 0, 0);
  }
  await tintype(["restore", good], target.env);
});

t.test("a restore that was killed says so, and is done again", async (t) => {
  const source = await startService(t);
  await publish(await source.client.register("ana"), [await small()]);
  const files = await folder(t);
  const [one, other] = [join(files, "one.tar"), join(files, "other.tar")];
  for (const file of [one, other]) await tintype(["backup", file], source.env);
  const rows = await rowsOf(source.databaseUrl);

  const target = await emptyTarget(t);
  await tintype(["migrate"], target.env);
  // All is in place by then, and nothing of it committed.
  const held = await brake(t, target.databaseUrl, "pgboss.job", "SHARE");
  const restore = start(["restore", one], target.env);
  await waitFor(held.waiting, "the restore to be at its end");
  await restore.kill();
  await held.release();
  t.strictSame(await query(target.databaseUrl, "SELECT FROM users"), []);

  for (const args of [["serve", "--port", "0"], ["users", "list"], ["migrate"]]) {
    const { code, stdout, stderr } = await run(args, target.env);
    t.equal(code, 3);
    t.match(`${stdout}${stderr}`, /restore into this database was begun .* not finished/);
  }
  const again = await waitFor(async () => {
    const { error } = await tintype(["restore", other], target.env, 1);
    return !/another process/.test(error.message) && error.message;
  }, "Postgres to see that it is dead");
  t.match(again, /restore of another backup/);
  const { code, stderr } = await run(["restore", one], target.env);
  t.equal(code, 0);
  t.match(stderr, /revoked after the backup .* good again.*keys rotate --revoke/, "it says what came back");
  t.strictSame(afterwards(await rowsOf(target.databaseUrl)).posts, rows.posts);
  t.strictSame(await objectsOf(target.dataDir), await objectsOf(source.dataDir));
  await serve(t, target.env);
});
