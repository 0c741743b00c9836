import { randomUUID } from "node:crypto";
import { mkdir, readFile, rm, truncate, utimes, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import pg from "pg";
import t from "tap";
import { objectsOf, tintype } from "../support/backup.ts";
import type { Json } from "../support/client.ts";
import { exactly } from "../support/exactly.ts";
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
  t.match(report, { ok: true, known: objects, found: objects, hashed: objects, differences: exactly() });
  t.same(report.counts, { missing: 0, orphan: 0, wrong_size: 0, wrong_hash: 0, unreadable: 0 });
  t.ok(report.found_bytes > 0 && report.duration_ms > 0);
  t.equal((await verify(0, "--older-than", "0", "--sample", "0")).hashed, 0);
  const { stdout } = await run(["media", "verify"], env);
  t.match(stdout, /21 objects known, 21 found .*\nRows and objects agree\.\n/);
  t.match(await removeOrphans("--older-than", "0s"), { removed: 0, bytes: 0, kept_for_backup: 0, dry_run: false });
  t.equal((await keys()).length, objects);
});

t.test("usage by kind and by user", async (t) => {
  const sum = (objects: Json[]) => objects.reduce((total: number, { bytes }: Json) => total + Number(bytes), 0);
  const { rows } = await sql.query("SELECT bytes FROM renditions");
  const broken = truncated(photo).length;
  const originals = { originals: 5, original_bytes: 4 * photo.length + broken };
  const total = { media: 5, ...originals, renditions: 16, rendition_bytes: sum(rows) };
  const usage = await tintype(["media", "usage"], env);
  const whole = { ...total, bytes: total.original_bytes + total.rendition_bytes };
  t.same(usage.total, whole);
  t.equal(usage.users, 2);
  t.match(
    usage.by_kind,
    exactly(
      { kind: "post", state: "ready", media: 4, originals: 4, original_bytes: 4 * photo.length, renditions: 16 },
      {
        kind: "post",
        state: "failed",
        media: 1,
        original_bytes: broken,
        renditions: 0,
        rendition_bytes: 0,
        bytes: broken,
      },
    ),
  );
  t.match(
    usage.by_user,
    exactly(
      { username: "ana", media: 3, renditions: 12 },
      { username: "bob", media: 2, original_bytes: photo.length + broken },
    ),
  );
  const store = await verify(0, "--older-than", "0s", "--sample", "0");
  t.equal(usage.total.bytes, store.found_bytes, "rows say what the store has");
  const ofBob = await tintype(["media", "usage", "--user", "bob", "--by", "user"], env);
  t.same(ofBob, {
    total: usage.by_user.map(({ username, ...rest }: Json) => rest)[1],
    users: 1,
    by_user: [usage.by_user[1]],
  });
  const most = await tintype(["media", "usage", "--by", "user", "--limit", "1"], env);
  t.match([most.by_user.length, most.by_user[0].username, most.users], [1, "ana", 2]);
  t.equal((await tintype(["media", "usage", "--by", "kind"], env)).by_user, undefined);
  const { stdout } = await run(["media", "usage"], env);
  t.match(stdout, /KIND +STATE +MEDIA.*\npost +ready +4 [\s\S]*USERNAME[\s\S]*ana +3 [\s\S]*5 media of 2 users/);
});

t.test("each medium with its state, reason, tries and times", async (t) => {
  const list = (...args: string[]) => tintype(["media", "list", ...args], env);
  const all = await list();
  t.equal(all.media.length, 5);
  t.equal(all.next_cursor, null);
  const sorted = all.media.map(({ id }: Json) => id);
  t.same(sorted, sorted.toSorted().reverse(), "latest first");
  const first = await list("--limit", "2");
  t.same([...first.media, ...(await list("--after", first.next_cursor)).media], all.media);
  const [bad] = (await list("--failed")).media;
  t.match(bad, {
    kind: "post",
    state: "failed",
    owner: "bob",
    post_id: failed,
    attempts: 3,
    bytes: truncated(photo).length,
  });
  t.match(bad.failure, { code: "PICTURE_UNREADABLE", message: /damaged/ });
  for (const time of [bad.created_at, bad.attempted_at, bad.finished_at]) t.match(time, /^\d{4}-.*Z$/);
  t.same((await list("--state", "failed")).media, [bad]);
  t.equal((await list("--user", "ana", "--state", "ready")).media.length, 3);
  t.equal((await list("--since", "1h")).media.length, 5);
  t.equal((await list("--since", "2100-01-01")).media.length, 0);

  const shown = await tintype(["media", "show", one], env);
  t.match(shown, { id: one, state: "ready", owner: "ana", failure: null, width: 500, height: 400, attempts: 1 });
  t.equal(shown.post_id, posts[0].id);
  const stored = await objectsOf(dataDir);
  t.equal(shown.objects.length, 5);
  for (const { key, bytes, found_bytes, sha256 } of shown.objects) {
    t.equal(sha256, stored[key], key);
    t.equal(bytes, found_bytes);
  }
  t.match((await run(["media", "show", bad.id], env)).stdout, /failure +PICTURE_UNREADABLE: The picture is damaged/);
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

t.test("most of what there is is not removed by mistake", async (t) => {
  const before = await keys();
  for (let n = 0; n < 120; n++) await putStray(original(randomUUID()));
  const { error } = await tintype(["media", "remove-orphans", "--older-than", "0s"], env, 1);
  t.match(error, { message: /120 of the \d+ objects/, hint: /--force/ });
  t.equal((await removeOrphans("--older-than", "0s", "--dry-run")).removed, 120);
  t.equal((await removeOrphans("--older-than", "0s", "--force")).removed, 120);
  t.same(await keys(), before);
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

t.test("a removed medium whose job is gone is removed all the same", async () => {
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

t.test("wrong usage, and an outage", async (t) => {
  const refused = async (expected: number, line: string) => {
    const { error } = await tintype(["media", ...line.split(" ")], env, expected);
    t.type(error.message, "string", line);
    if (expected === 1) t.match(error, { code: "OperationError", hint: /tintype/ }, line);
  };
  await Promise.all([
    refused(2, "verify --older-than 24"),
    refused(2, "verify --sample 2"),
    refused(2, "verify --sample 0.1 --all-hashes"),
    refused(2, "remove-orphans --older-than soon"),
    refused(2, "list --since yesterday"),
    refused(2, "list --after 1"),
    refused(2, "show 1"),
    refused(1, "usage --user nobody"),
    refused(1, "list --user nobody"),
    refused(1, `show ${randomUUID()}`),
  ]);
  await rm(join(dataDir, "media", "tintype-store.txt"));
  t.match(await verify(4), { error: { code: "DependencyError" } });
});
