import { randomUUID } from "node:crypto";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import t, { type Test } from "tap";
import { testDatabase } from "../support/database.ts";
import { largePhoto, picture } from "../support/pictures.ts";
import { start, startServer, temporaryFolder, waitFor } from "../support/server.ts";
import { openUpload } from "../support/upload.ts";

// Most of their time goes by until a killed worker is missed, so they wait for it together.
t.jobs = 3;

async function surroundings(t: Test, settings: Record<string, string> = {}) {
  const { url } = await testDatabase(t);
  const sql = new pg.Pool({ connectionString: url, max: 2 });
  t.teardown(() => sql.end());
  const dataDir = await temporaryFolder(t);
  return { env: { TINTYPE_DATABASE_URL: url, TINTYPE_DATA_DIR: dataDir, ...settings }, sql, dataDir };
}

/** The processes that a process started, and theirs. */
async function descendants(pid: number): Promise<number[]> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8").catch(() => "");
  const own = children.split(" ").filter(Boolean).map(Number);
  return [...own, ...(await Promise.all(own.map(descendants))).flat()];
}

function isAlive(pid: number): Promise<boolean> {
  return readFile(`/proc/${pid}/stat`, "utf8").then(
    (stat) => !/\) [ZX] /.test(stat),
    () => false,
  );
}

async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

t.test("kill -9 of a worker in mid-job: another one does it within 20 s", { buffered: true }, async (t) => {
  const { env, sql } = await surroundings(t, { TINTYPE_WORKER_CONCURRENCY: "2" });
  const server = await startServer({ ...env, TINTYPE_WORKER_EMBEDDED: "false" });
  t.teardown(() => server.stop());
  const ana = await server.client.register("ana");
  const photo = await largePhoto();
  const ids = await Promise.all(Array.from({ length: 4 }, () => ana.post([photo])));

  const victim = start(["worker"], env);
  t.teardown(() => victim.kill());
  const decoders = await waitFor(async () => {
    const { rows } = await sql.query(
      "SELECT count(*)::int AS n FROM media WHERE attempts > 0 AND state = 'processing'",
    );
    const children = await descendants(victim.pid);
    return rows[0].n > 0 && children.length > 0 && children;
  }, "a job under way");
  await victim.kill();
  const killed = performance.now();
  const { rows } = await sql.query(
    "SELECT count(*)::int AS n FROM pgboss.job WHERE state = 'active' AND name = 'media.process'",
  );
  t.ok(rows[0].n > 0, "a job was cut off");

  const heir = start(["worker"], env);
  t.teardown(() => heir.stop());
  for (const id of ids) {
    await waitFor(async () => (await ana.request("GET", `/posts/${id}`)).body.status === "published", id);
  }
  t.comment(`all done ${((performance.now() - killed) / 1000).toFixed(1)} s after the kill`);
  t.strictSame((await ana.request("GET", "/me")).body.post_count, 4, "each counted once");
  await waitFor(async () => !(await Promise.all(decoders.map(isAlive))).includes(true), "its decoders to be gone");
});

t.test("kill -9 of a server in mid-upload: nothing half-published, leftovers swept", { buffered: true }, async (t) => {
  const { env, sql, dataDir } = await surroundings(t);
  const server = await startServer(env);
  t.teardown(() => server.kill());
  const ana = await server.client.register("ana");
  const photo = await picture({ width: 900, height: 600 });
  const uploads = await Promise.all(Array.from({ length: 3 }, () => openUpload(server.url, ana.token, photo)));
  const staging = join(dataDir, "staging");
  await waitFor(async () => (await filesIn(staging)).length === 3, "the files in staging");
  for (const upload of uploads) await upload.send(300_000);
  await server.kill();
  for (const upload of uploads) await t.rejects(upload.answer, "the client learns that it was not taken");

  const counts = "SELECT (SELECT count(*)::int FROM posts) AS posts, (SELECT count(*)::int FROM media) AS media";
  t.strictSame((await sql.query(counts)).rows, [{ posts: 0, media: 0 }]);
  t.strictSame(await filesIn(join(dataDir, "media", "originals")), [], "nothing got out of staging");
  t.equal((await filesIn(staging)).length, 3);

  const next = await startServer({
    ...env,
    TINTYPE_WORKER_EMBEDDED: "true",
    TINTYPE_HTTP_HEADER_TIMEOUT: "1s",
    TINTYPE_HTTP_REQUEST_TIMEOUT: "1s",
    TINTYPE_MEDIA_STAGING_MAX_AGE: "1s",
  });
  t.teardown(() => next.stop());
  const me = next.client.as(ana.token);
  t.strictSame((await me.request("GET", "/users/ana/posts")).body.items, []);
  t.equal((await me.request("GET", "/me")).body.post_count, 0);
  const { rows } = await sql.query("SELECT cron FROM pgboss.schedule WHERE name = 'media.sweep'");
  t.strictSame(rows, [{ cron: "* * * * *" }], "the sweeper runs every minute");
  await waitFor(async () => (await filesIn(staging)).length === 0, "staging to be swept");
});

t.test("kill -9 of a server that commits uploads: each post is whole or not there", { buffered: true }, async (t) => {
  const { env, sql } = await surroundings(t, { TINTYPE_WORKER_EMBEDDED: "true" });
  const photo = await picture({ width: 300, height: 200 });
  let pictures = 0;
  // Each is another file: one content that is in hand whenever a worker is killed goes into quarantine.
  const unlike = () => Uint8Array.from(Buffer.concat([photo, Buffer.from(String(pictures++))]));
  const first = await startServer(env);
  const ana = await first.client.register("ana");
  const acknowledged: string[] = [];
  let server = first;
  t.teardown(() => server.kill());
  for (let round = 0; round < 3; round++) {
    const client = server.client.as(ana.token);
    const form = () => {
      const data = new FormData();
      data.append("media", new Blob([unlike()]), "photo.jpg");
      data.append("media", new Blob([unlike()]), "photo.jpg");
      return data;
    };
    const before = acknowledged.length;
    const uploading = Array.from({ length: 4 }, async () => {
      for (;;) {
        const answer = await client.request("POST", "/posts", { form: form() }).catch(() => null);
        if (answer === null) return;
        t.equal(answer.status, 202);
        acknowledged.push(answer.body.post_id);
      }
    });
    await waitFor(async () => acknowledged.length >= before + 5, "some uploads");
    await server.kill();
    await Promise.all(uploading);
    server = await startServer(env);
  }
  const posts = () =>
    sql.query<{ id: string; status: string; media: number }>(
      `SELECT id, status, (SELECT count(*)::int FROM post_media WHERE post_id = posts.id) AS media FROM posts`,
    );
  await waitFor(
    async () => (await posts()).rows.every((post) => post.status === "published" && post.media === 2),
    "every post to be published with both pictures",
  );
  const { rows } = await posts();
  const there = new Set(rows.map((post) => post.id));
  t.strictSame(
    acknowledged.filter((id) => !there.has(id)),
    [],
    "what was acknowledged is there",
  );
  const me = (await server.client.as(ana.token).request("GET", "/me")).body;
  t.equal(me.post_count, rows.length, `${rows.length} posts, ${acknowledged.length} acknowledged`);
  const unowned = await sql.query(
    "SELECT FROM media WHERE NOT EXISTS (SELECT FROM post_media WHERE medium_id = media.id)",
  );
  t.equal(unowned.rowCount, 0, "no medium without a post");
});

t.test("a put that was completed after the removal is taken back", { buffered: true }, async (t) => {
  const { env, sql, dataDir } = await surroundings(t, { TINTYPE_WORKER_EMBEDDED: "true" });
  const server = await startServer(env);
  t.teardown(() => server.stop());
  const ana = await server.client.register("ana");
  const post = await ana.post([await picture({ width: 300, height: 200 })]);
  const kept = await waitFor(async () => {
    const { body } = await ana.request("GET", `/posts/${post}`);
    return body.status === "published" && String(body.media[0].id);
  }, "the post");
  const gone = randomUUID();
  const folder = join(dataDir, "media", "renditions", gone.slice(-2), gone);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "large.webp"), "of the last try");
  // As the queue leaves them when the last try's worker is gone.
  for (const id of [gone, kept]) {
    await sql.query(
      "INSERT INTO pgboss.job (name, data, source_name, source_retry_count) VALUES ('dead_letters', $1, 'media.process', 2)",
      [{ medium_id: id }],
    );
  }
  const before = await filesIn(join(dataDir, "media"));
  await sql.query("INSERT INTO pgboss.job (name, data) VALUES ('media.sweep', '{}')");
  await waitFor(async () => (await filesIn(folder)).length === 0, "the rendition to be gone");
  const { rows } = await sql.query("SELECT data->>'medium_id' AS id FROM pgboss.job WHERE name = 'dead_letters'");
  t.strictSame(rows, [{ id: kept }], "the letter of a medium that is there is the operator's");
  t.strictSame(
    (await filesIn(join(dataDir, "media"))).sort(),
    before.filter((file) => !file.startsWith(folder)).sort(),
    "and its objects stay",
  );
});
