import { rename } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import t from "tap";
import { objectsOf, objectsOfMedium, tintype } from "../support/backup.ts";
import type { Json } from "../support/client.ts";
import { exactly } from "../support/exactly.ts";
import { ask, fetchFiles, settled } from "../support/exports.ts";
import { picture } from "../support/pictures.ts";
import { type Started, start, waitFor } from "../support/server.ts";
import { processed, startService } from "../support/service.ts";

const { client, dataDir, databaseUrl, env } = await startService(t, { TINTYPE_WORKER_EMBEDDED: "false" });
const sql = new pg.Pool({ connectionString: databaseUrl, max: 3 });
t.teardown(() => sql.end());
const photo = await picture({ width: 500, height: 400 });
const ana = await client.register("ana");
const bob = await client.register("bob");

let worker: Started | undefined;
t.teardown(() => worker?.stop());
async function work(settings: Record<string, string> = {}): Promise<void> {
  await worker?.stop();
  worker = start(["worker"], { ...env, TINTYPE_WORKER_CONCURRENCY: "1", ...settings });
}
const rest = () => worker?.stop();

const reprocess = (...args: string[]) => tintype(["media", "reprocess", ...args], env);
const verified = async () => (await tintype(["media", "verify", "--older-than", "0s"], env)).ok;
const originalOf = (id: string) => join(dataDir, "media", "originals", id.slice(-2), id);
const mediumOf = async (author: typeof ana, post: string): Promise<string> =>
  (await author.request("GET", `/posts/${post}`)).body.media[0].id;
const versionsOf = async (id: string): Promise<string[]> => {
  const { rows } = await sql.query("SELECT DISTINCT version FROM renditions WHERE medium_id = $1", [id]);
  return rows.map(({ version }) => version);
};
/** As if their time had come. */
const discardNow = () =>
  sql.query("UPDATE pgboss.job SET start_after = now() WHERE name = 'media.discard' AND state = 'created'");
const idle = () =>
  waitFor(async () => {
    const { rowCount } = await sql.query(
      "SELECT FROM pgboss.job WHERE name LIKE 'media.%' AND name NOT LIKE 'media.sweep%' AND state < 'completed' AND start_after <= now()",
    );
    return rowCount === 0;
  }, "the jobs to be done");

const first = await ana.post([photo]);
const other = await bob.post([photo]);
const form = new FormData();
form.append("file", new Blob([Uint8Array.from(photo)]), "me.jpg");
await ana.request("PUT", "/me/avatar", { form });
const broken = await bob.post([photo]);
const lost = originalOf(await mediumOf(bob, broken));
const aside = join(dataDir, "aside");
await rename(lost, aside);
await work();
await Promise.all([processed(ana, first), processed(bob, other)]);
const medium = await mediumOf(ana, first);

t.test("those that failed are tried again, and published", async (t) => {
  t.equal((await processed(bob, broken)).status, "failed");
  t.match(await reprocess("--failed"), { enqueued: 0, skipped: { original_missing: 1 } });
  await rename(aside, lost);
  t.match(await reprocess("--failed", "--since", "2100-01-01"), { enqueued: 0, skipped: { original_missing: 0 } });
  t.match(await reprocess("--failed", "--since", "1h"), { enqueued: 1 });
  await waitFor(async () => (await bob.request("GET", `/posts/${broken}`)).body.status === "published", "the post");
  t.equal((await bob.request("GET", "/me")).body.post_count, 2);
  t.match((await tintype(["media", "list", "--failed"], env)).media, exactly());
});

t.test("renditions are made again, and what is shown goes on", async (t) => {
  const before = (await client.request("GET", `/media/${medium}/large.webp`)).bytes;
  const old = (await objectsOfMedium({ dataDir }, medium)).filter((key) => key.startsWith("renditions/"));
  t.equal(old.length, 4);
  let stop = false;
  t.teardown(() => {
    stop = true;
  });
  const statuses = new Set<number>();
  const watching = (async () => {
    while (!stop) statuses.add((await client.request("GET", `/media/${medium}/large.webp`)).status);
  })();
  t.match(await reprocess("--user", "ana", "--kind", "post", "--dry-run"), { enqueued: 1, dry_run: true });
  t.same(await versionsOf(medium), [""]);
  t.match(await reprocess("--user", "ana", "--kind", "post"), {
    enqueued: 1,
    skipped: { original_dropped: 0, original_missing: 0, under_way: 0 },
    dry_run: false,
  });
  const [version = ""] = await waitFor(async () => {
    const versions = await versionsOf(medium);
    return versions[0] !== "" && versions;
  }, "new renditions");
  t.same(await versionsOf(medium), [version], "one set, whole");
  await idle();
  const both = await objectsOfMedium({ dataDir }, medium);
  t.equal(both.length, 9, "the old ones are there for whoever reads them");
  t.equal(await verified(), true, "and are no orphans meanwhile");
  await discardNow();
  await waitFor(async () => (await objectsOfMedium({ dataDir }, medium)).length === 5, "the old ones to be gone");
  t.same(
    (await objectsOfMedium({ dataDir }, medium)).filter((key) => old.includes(key)),
    [],
  );
  stop = true;
  await watching;
  t.same([...statuses], [200]);
  t.same((await client.request("GET", `/media/${medium}/large.webp`)).bytes, before, "the same picture");
  t.equal((await ana.request("GET", "/me")).body.post_count, 1, "published once");
  t.equal(await verified(), true);
});

t.test("tries that fail leave nothing for good", async (t) => {
  const objects = async () => (await objectsOfMedium({ dataDir }, medium)).length;
  const [version = ""] = await versionsOf(medium);
  const attempts = async () => (await tintype(["media", "show", medium], env)).attempts;
  t.equal(await attempts(), 2, "the first, and the one that made them again");
  await sql.query(`
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no luck'; END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON renditions FOR EACH ROW EXECUTE FUNCTION refuse()`);
  t.match(await reprocess("--user", "ana", "--kind", "post"), { enqueued: 1 });
  await waitFor(async () => {
    await sql.query("UPDATE pgboss.job SET start_after = now() WHERE name = 'media.process' AND state = 'retry'");
    const { rowCount } = await sql.query(
      "SELECT FROM pgboss.job WHERE name = 'dead_letters' AND source_name = 'media.process' AND data->>'medium_id' = $1",
      [medium],
    );
    return rowCount === 1;
  }, "the last try to fail");
  await sql.query("DROP FUNCTION refuse CASCADE");
  t.equal(await objects(), 5 + 3 * 4, "each try left its own");
  t.equal(await attempts(), 5);
  t.equal(await verified(), true, "and somebody knows of them");
  await discardNow();
  await waitFor(async () => (await objects()) === 5, "them to be gone");
  t.same(await versionsOf(medium), [version], "what is shown stays");
  t.equal((await client.request("GET", `/media/${medium}/large.webp`)).status, 200);
  await idle();
  t.equal(await verified(), true);
});

t.test("twice at once is as once, behind uploads", async (t) => {
  await idle();
  await rest();
  const [one, two] = await Promise.all([reprocess(), reprocess()]);
  t.equal(one.enqueued + two.enqueued, 4, "each medium has one job");
  t.equal(one.skipped.under_way + two.skipped.under_way, 4);
  t.match(await reprocess("--limit", "1"), { enqueued: 0, skipped: { under_way: 4 } });
  const late = await ana.post([photo]);
  const id = await mediumOf(ana, late);
  await work();
  await processed(ana, late);
  await idle();
  const { rows } = await sql.query(
    "SELECT data->>'medium_id' AS id FROM pgboss.job WHERE name = 'media.process' AND started_on >= (SELECT created_on FROM pgboss.job WHERE name = 'media.process' AND data->>'medium_id' = $1) ORDER BY started_on",
    [id],
  );
  t.equal(rows.length, 5);
  t.equal(rows[0].id, id, "the upload that came last is taken first");
  await discardNow();
  await idle();
  t.equal(await verified(), true);
});

t.test("originals are dropped where the operator wants it", async (t) => {
  await work({ TINTYPE_MEDIA_ORIGINALS: "drop" });
  const post = await ana.post([photo]);
  await processed(ana, post);
  const dropped = await mediumOf(ana, post);
  t.match(await reprocess("--user", "ana", "--kind", "post"), { enqueued: 2, skipped: { original_dropped: 1 } });
  await idle();
  const waiting = (await objectsOf(dataDir))[`originals/${dropped.slice(-2)}/${dropped}`];
  t.ok(waiting, "it waits for whoever reads it");
  t.equal(await verified(), true);
  await discardNow();
  const originals = async () =>
    Object.keys(await objectsOf(dataDir)).filter((key) => key.startsWith("originals/")).length;
  await waitFor(async () => (await originals()) === 3, "those of her posts to be gone; her avatar's and bob's stay");
  t.equal(await verified(), true);
  const [usage] = (await tintype(["media", "usage", "--user", "ana"], env)).by_user;
  t.match(usage, { media: 4, originals: 1, original_bytes: photo.length });
  t.match(await reprocess("--user", "ana"), { enqueued: 1, skipped: { original_dropped: 3 } });
  const shown = await tintype(["media", "show", dropped], env);
  t.match(shown, { original_dropped_at: /Z$/, bytes: photo.length });
  t.equal(shown.objects.length, 4);
  t.equal((await client.request("GET", `/media/${dropped}/large.webp`)).status, 200);

  await ask(ana);
  const files = await fetchFiles((await settled(ana)).url);
  const large = await client.request("GET", `/media/${dropped}/large.webp`);
  t.same(files.get(`media/${post}/1.webp`), large.bytes, "its owner takes the largest rendition along");
  const kept: Json[] = JSON.parse(String(files.get("posts.json")));
  t.match(kept.find(({ id }) => id === post)?.media, exactly({ file: `media/${post}/1.webp`, original_kept: false }));
  t.notOk(files.has("missing.txt"));

  for (const id of [post, first]) t.equal((await ana.request("DELETE", `/posts/${id}`)).status, 204);
  await idle();
  for (const id of [dropped, medium])
    t.same(await objectsOfMedium({ dataDir }, id), [], "nothing is left of any version");
  await discardNow();
  await idle();
  t.equal(await verified(), true);
});
