import { randomUUID } from "node:crypto";
import { mkdir, readFile, rm, truncate, utimes, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import pg from "pg";
import t from "tap";
import { brake, objectsOf, tintype } from "../support/backup.ts";
import type { Json } from "../support/client.ts";
import { picture, truncated } from "../support/pictures.ts";
import { run, waitFor } from "../support/server.ts";
import { processed, publish, startService } from "../support/service.ts";

const { client, dataDir, databaseUrl, env } = await startService(t);
const sql = new pg.Pool({ connectionString: databaseUrl, max: 3 });
t.teardown(() => sql.end());
const ana = await client.register("ana");
const bob = await client.register("bob");
const photo = await picture({ width: 500, height: 400 });
const posts: Json[] = [];
for (let n = 0; n < 3; n++) posts.push(await publish(ana, [photo]));
await publish(bob, [photo]);
const failed = await bob.post([truncated(photo)]);

const ids = posts.map((post) => String(post.media[0].id));
const [one = "", two = "", three = ""] = ids;
const pathOf = (key: string) => join(dataDir, "media", key);
const original = (id: string) => `originals/${id.slice(-2)}/${id}`;
const rendition = (id: string, name: string) => `renditions/${id.slice(-2)}/${id}/${name}.webp`;
const keys = async () => Object.keys(await objectsOf(dataDir));
const verify = (expected: number, ...args: string[]) => tintype(["media", "verify", ...args], env, expected);
const removeOrphans = (...args: string[]) => tintype(["media", "remove-orphans", ...args], env);

async function putStray(key: string, bytes = 10): Promise<string> {
  await mkdir(dirname(pathOf(key)), { recursive: true });
  await writeFile(pathOf(key), Buffer.alloc(bytes));
  return key;
}

t.test("rows and objects that agree", async (t) => {
  await processed(bob, failed);
  const report = await verify(0, "--older-than", "0s");
  const objects = (await keys()).length;
  t.equal(objects, 4 * 5 + 1);
  t.match(report, { ok: true, known: objects, found: objects, hashed: objects, differences: [] });
  t.same(report.counts, { missing: 0, orphan: 0, wrong_size: 0, wrong_hash: 0, unreadable: 0 });
  t.ok(report.found_bytes > 0 && report.duration_ms > 0);
  t.equal((await verify(0, "--older-than", "0", "--sample", "0")).hashed, 0);
  const { stdout } = await run(["media", "verify"], env);
  t.match(stdout, /21 objects known, 21 found .*\nRows and objects agree\.\n/);
  t.match(await removeOrphans("--older-than", "0s"), { removed: 0, bytes: 0, kept_for_backup: 0, dry_run: false });
  t.equal((await keys()).length, objects);
});

t.test("every difference is told, once it is old enough", async (t) => {
  const stray = await putStray(original(randomUUID()), 17);
  const nobodys = await putStray("renditions/00/stray/large.webp", 5);
  const lost = rendition(one, "small");
  const cut = rendition(two, "large");
  const changed = original(three);
  const kept = await Promise.all([lost, cut, changed].map((key) => readFile(pathOf(key))));
  const [, whole = Buffer.alloc(0), intact = Buffer.alloc(0)] = kept;
  await rm(pathOf(lost));
  await truncate(pathOf(cut), 7);
  await writeFile(pathOf(changed), Buffer.alloc(intact.length));
  const young = await verify(0);
  t.equal(young.ok, true, "all of it is younger than a day");
  t.equal(young.hashed, 0);

  const report = await verify(1, "--older-than", "0s");
  t.equal(report.ok, false);
  t.same(report.counts, { missing: 1, orphan: 2, wrong_size: 1, wrong_hash: 1, unreadable: 0 });
  const told = (difference: Json) => JSON.stringify(difference);
  t.same(
    report.differences.map(told).sort(),
    [
      { kind: "missing", key: lost, medium_id: one, expected_bytes: kept[0]?.length, found_bytes: null },
      { kind: "wrong_size", key: cut, medium_id: two, expected_bytes: whole.length, found_bytes: 7 },
      { kind: "wrong_hash", key: changed, medium_id: three, expected_bytes: intact.length, found_bytes: intact.length },
      { kind: "orphan", key: stray, medium_id: stray.slice(-36), expected_bytes: null, found_bytes: 17 },
      { kind: "orphan", key: nobodys, medium_id: null, expected_bytes: null, found_bytes: 5 },
    ]
      .map(told)
      .sort(),
  );
  const { code, stdout, stderr } = await run(["media", "verify", "--older-than", "0s", "--all-hashes"], env);
  t.equal(code, 1);
  t.match(stdout, "1 missing, 2 without a row, 1 of a wrong size, 1 with a wrong hash, 0 unreadable.");
  for (const line of [`missing: ${lost}`, `wrong size: ${cut} (7 bytes, not ${whole.length})`, `orphan: ${stray}`]) {
    t.match(stderr, line);
  }
  t.equal((await verify(1, "--older-than", "0s", "--sample", "0")).counts.wrong_hash, 0, "unread, unseen");

  // Of each side its own age counts.
  await sql.query("UPDATE media SET created_at = now() - interval '2 days', finished_at = now() - interval '2 days'");
  await utimes(pathOf(stray), new Date(0), new Date(0));
  t.same((await verify(1)).counts, { missing: 1, orphan: 1, wrong_size: 1, wrong_hash: 1, unreadable: 0 });

  await Promise.all([lost, cut, changed].map((key, index) => writeFile(pathOf(key), kept[index] ?? "")));
  t.same((await verify(1, "--older-than", "0s")).counts, {
    missing: 0,
    orphan: 2,
    wrong_size: 0,
    wrong_hash: 0,
    unreadable: 0,
  });

  const before = await keys();
  t.match(await removeOrphans("--dry-run"), { removed: 1, bytes: 17, dry_run: true });
  t.same(await keys(), before, "a dry run removes nothing");
  t.match(await removeOrphans(), { removed: 1, bytes: 17, dry_run: false });
  t.same(
    await keys(),
    before.filter((key) => key !== stray),
    "the young one stays",
  );
  t.match(await removeOrphans("--older-than", "0s"), { removed: 1, bytes: 5 });
  t.match(await removeOrphans("--older-than", "0s"), { removed: 0, bytes: 0 });
  t.equal((await verify(0, "--older-than", "0s")).ok, true);
});

t.test("what somebody is still at is no orphan", async (t) => {
  const uploading = randomUUID();
  await sql.query("INSERT INTO pending_originals (medium_id) VALUES ($1)", [uploading]);
  const removed = randomUUID();
  const again = randomUUID();
  for (const [id, state] of [
    [removed, "removed"],
    [again, "processing"],
  ]) {
    await sql.query(
      `INSERT INTO media (id, owner_id, purpose, state, content_type, bytes, sha256)
       VALUES ($1, $2, 'post', $3, 'image/jpeg', 10, '\\x')`,
      [id, ana.id, state],
    );
  }
  // Nobody runs these, so that they are still to come.
  for (const [name, id] of [
    ["media.remove", removed],
    ["media.process", again],
  ]) {
    await sql.query("INSERT INTO pgboss.job (name, data, start_after) VALUES ($1, $2, now() + interval '1 day')", [
      name,
      { medium_id: id },
    ]);
  }
  const theirs = [
    original(uploading),
    original(removed),
    rendition(removed, "large"),
    original(again),
    rendition(again, "large"),
    rendition(again, "0198-try/large"),
  ];
  for (const key of theirs) await putStray(key);
  t.equal((await verify(0, "--older-than", "0s", "--sample", "0")).ok, true);
  t.equal((await removeOrphans("--older-than", "0s")).removed, 0);
  for (const key of theirs) t.ok((await keys()).includes(key), key);

  // A try that was killed, of one that nobody works on any more.
  await sql.query("DELETE FROM pgboss.job WHERE data->>'medium_id' = $1", [again]);
  await sql.query("UPDATE media SET state = 'failed', failure_code = 'X', failure_message = 'X' WHERE id = $1", [
    again,
  ]);
  t.equal(
    (await removeOrphans("--older-than", "0s")).removed,
    1,
    "the next try overwrites what has the keys it will use",
  );
  t.notOk((await keys()).includes(rendition(again, "0198-try/large")));

  await sql.query("DELETE FROM pending_originals");
  await sql.query("DELETE FROM media WHERE id = ANY ($1)", [[removed, again]]);
  t.match(await removeOrphans("--older-than", "0s"), { removed: 5, bytes: 50 });
});

t.test("while a backup runs, objects of media that are there stay", async (t) => {
  const old = await putStray(rendition(one, "an-old-version/large"));
  const ownerless = await putStray(original(randomUUID()));
  await sql.query("INSERT INTO backup_leases (holder, expires_at) VALUES ($1, now() + interval '1 hour')", [
    randomUUID(),
  ]);
  t.match(await removeOrphans("--older-than", "0s"), { removed: 1, kept_for_backup: 1 });
  t.ok((await keys()).includes(old));
  t.notOk((await keys()).includes(ownerless));
  await sql.query("DELETE FROM backup_leases");
  t.match(await removeOrphans("--older-than", "0s"), { removed: 1, kept_for_backup: 0 });
});

t.test("a removed medium whose job is gone is removed all the same", async (t) => {
  const post = await publish(bob, [photo]);
  const [{ id }] = post.media;
  await sql.query("DELETE FROM posts WHERE id = $1", [post.id]);
  await sql.query("UPDATE media SET state = 'removed' WHERE id = $1", [id]);
  await waitFor(async () => {
    // As its schedule would.
    await sql.query("INSERT INTO pgboss.job (name, data) VALUES ('media.sweep', '{}')");
    return !(await keys()).some((key) => key.includes(id));
  }, "its objects to be gone");
  await waitFor(
    async () => (await sql.query("SELECT FROM media WHERE id = $1", [id])).rowCount === 0,
    "its row to be gone",
  );
});

t.test("rows and objects that come and go meanwhile are no differences", async (t) => {
  let stop = false;
  let rounds = 0;
  const busy = async () => {
    while (!stop) {
      const post = await publish(ana, [photo]);
      await ana.request("DELETE", `/posts/${post.id}`);
      rounds += 1;
    }
  };
  const working = Promise.all([busy(), busy()]);
  for (let n = 0; n < 2 || rounds < 4; n++) {
    t.equal((await verify(0, "--older-than", "0s", "--all-hashes")).ok, true);
    t.equal((await removeOrphans("--older-than", "0s")).removed, 0);
  }
  stop = true;
  await working;
  t.comment(`${rounds} posts were made and deleted meanwhile`);
});

t.test("wrong usage, and an outage", async (t) => {
  for (const args of [
    ["verify", "--older-than", "24"],
    ["verify", "--sample", "2"],
    ["verify", "--sample", "0.1", "--all-hashes"],
    ["remove-orphans", "--older-than", "soon"],
  ]) {
    const { error } = await tintype(["media", ...args], env, 2);
    t.type(error.message, "string", args.join(" "));
  }
  const held = await brake(t, databaseUrl, "renditions");
  const verifying = run(["media", "verify", "--json"], { ...env, TINTYPE_DATABASE_STATEMENT_TIMEOUT: "100ms" });
  const { code } = await verifying;
  await held.release();
  t.equal(code, 1, "Postgres refuses");
  await rm(join(dataDir, "media", "tintype-store.txt"));
  t.match(await verify(4), { error: { code: "DependencyError" } });
});
