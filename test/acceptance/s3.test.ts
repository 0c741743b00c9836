import { readdir } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import t, { type Test } from "tap";
import { emptyTarget, folder, rowsOf, tintype } from "../support/backup.ts";
import { bucketContent, s3Environment } from "../support/bucket.ts";
import { type Json, postForm, type SignedIn } from "../support/client.ts";
import { testDatabase } from "../support/database.ts";
import { picture } from "../support/pictures.ts";
import { startS3Proxy } from "../support/s3-proxy.ts";
import { run, start, startServer, temporaryFolder, waitFor } from "../support/server.ts";
import { processed, publish } from "../support/service.ts";
import { type S3Service, s3Service } from "../support/services.ts";

t.jobs = 3;

const photo = await picture({ width: 640, height: 480 });
const RENDITIONS = ["thumbnail", "small", "medium", "large"] as const;

/** A database and a bucket, and settings for processes on data dirs of their own. */
async function place(t: Test, service: S3Service, settings: Record<string, string> = {}) {
  const { url } = await testDatabase(t);
  const sql = new pg.Pool({ connectionString: url, max: 2 });
  t.teardown(() => sql.end());
  const env = async (endpoint?: string) => ({
    TINTYPE_DATABASE_URL: url,
    TINTYPE_DATA_DIR: await temporaryFolder(t),
    ...s3Environment(service, endpoint),
    ...settings,
  });
  const { code, stderr } = await run(["migrate"], await env());
  if (code !== 0) throw new Error(`migrate: ${code} ${stderr}`);
  return { url, sql, env };
}

async function worker(t: Test, env: Record<string, string>) {
  const started = start(["worker"], env);
  t.teardown(() => started.kill());
  await waitFor(async () => started.output().includes("taking jobs"), "the worker to start");
  return started;
}

async function server(t: Test, env: Record<string, string>) {
  const started = await startServer({ ...env, TINTYPE_WORKER_EMBEDDED: "false" });
  t.teardown(() => started.stop());
  return started;
}

async function urlsAreWhole(t: Test, viewer: SignedIn, post: Json): Promise<void> {
  for (const name of RENDITIONS) {
    const { status, headers, bytes } = await viewer.request("GET", post.media[0][`${name}_url`]);
    t.match({ status, type: headers.get("content-type") }, { status: 200, type: "image/webp" }, name);
    t.equal(Number(headers.get("content-length")), bytes.length);
  }
}

t.test("media on S3", async (t) => {
  const service = await s3Service(t);
  if (!service) return;
  const bucket = (name: string): S3Service => ({ ...service, bucket: `${service.bucket}-${name}` });

  t.test("servers and workers share Postgres and S3, and no file system", async (t) => {
    const here = bucket("shared");
    const { env, sql } = await place(t, here);
    const [one, two] = [await server(t, await env()), await server(t, await env())];
    const workers = await env();
    await worker(t, workers);
    const ana = await one.client.register("ana");
    const elsewhere = { ...ana, ...two.client.as(ana.token) };
    const post = await publish(ana, [photo, photo], { caption: "through three machines" });
    await urlsAreWhole(t, elsewhere, post);
    const large = String(post.media[0].large_url);
    const ranged = await elsewhere.request("GET", large, { headers: { range: "bytes=10-19" } });
    t.match({ status: ranged.status, length: ranged.bytes.length }, { status: 206, length: 10 });
    const { rows } = await sql.query("SELECT encode(sha256, 'hex') AS sha256 FROM media");
    const content = await bucketContent(here);
    t.equal(Object.keys(content).length, 10, "two originals, eight renditions");
    t.ok(
      rows.every(({ sha256 }) => Object.values(content).includes(sha256)),
      "the originals, bit for bit",
    );
    t.same(await readdir(join(String(workers.TINTYPE_DATA_DIR), "staging")), [], "nothing stays with the worker");

    const doctor = await tintype(["doctor"], await env());
    t.match(doctor.checks.find(({ name }: Json) => name === "media store").message, /^bucket tintype-test-.* at http/);

    t.equal((await ana.request("DELETE", `/posts/${post.id}`)).status, 204);
    await waitFor(async () => Object.keys(await bucketContent(here)).length === 0, "every object to go");

    const avatar = new FormData();
    avatar.append("file", new Blob([Uint8Array.from(photo)]), "me.jpg");
    t.equal((await ana.request("PUT", "/me/avatar", { form: avatar })).status, 200);
    await publish(ana, [photo]);
    t.equal((await ana.request("DELETE", "/me", { json: { password: ana.password } })).status, 202);
    await waitFor(async () => (await sql.query("SELECT FROM users")).rowCount === 0, "the account to go");
    t.same(await bucketContent(here), {}, "with all that it had");
  });

  t.test("what is wrong with the store is said at the start, with the mend", async (t) => {
    const { env } = await place(t, bucket("there"));
    const cases: [Record<string, string>, number, RegExp][] = [
      [{ TINTYPE_S3_BUCKET: `${service.bucket}-absent` }, 3, /no bucket .*-absent[\s\S]*tintype migrate/],
      [{ TINTYPE_S3_SECRET_KEY: "wrong" }, 3, /refuses us[\s\S]*TINTYPE_S3_SECRET_KEY/],
      [{ TINTYPE_S3_ACCESS_KEY: "" }, 3, /s3\.access_key is missing/],
    ];
    for (const [wrong, expected, words] of cases) {
      const { code, stderr } = await run(["serve", "--port", "0"], { ...(await env()), ...wrong });
      t.equal(code, expected);
      t.match(stderr, words);
    }
    const down = await run(["doctor"], { ...(await env()), TINTYPE_S3_ENDPOINT: "http://127.0.0.1:9" });
    t.equal(down.code, 4);
    t.match(`${down.stdout}${down.stderr}`, /media store[\s\S]*TINTYPE_S3_ENDPOINT/);
  });

  t.test("while it is gone: uploads 503, nothing half made, rows are read; then jobs finish", async (t) => {
    const here = bucket("outage");
    const proxy = await startS3Proxy(t, service.endpoint);
    const { env, sql } = await place(t, here, { TINTYPE_S3_TIMEOUT: "1s" });
    const { client } = await server(t, await env(proxy.url));
    const ana = await client.register("ana");
    const waiting = await ana.post([photo], { caption: "taken before it went" });
    const before = await bucketContent(here);
    const startedBefore = await worker(
      t,
      await env(proxy.url).then((settings) => ({ ...settings, TINTYPE_WORKER_CONCURRENCY: "1" })),
    );
    const published = await processed(ana, waiting);
    t.equal(published.status, "published");

    proxy.break(() => "hang");
    const readiness = async () => (await ana.request("GET", "/readyz")).body;
    for (const pictures of [[photo], [photo, photo, photo]]) {
      const refused = await ana.request("POST", "/posts", { form: postForm(pictures) });
      t.match(refused, { status: 503, body: { error: { code: "UNAVAILABLE" } } });
      t.ok(Number(refused.headers.get("retry-after")) > 0);
    }
    await waitFor(async () => (await readiness()).dependencies.media.state === "down", "readyz to say so");
    t.equal((await ana.request("GET", String(published.media[0].large_url))).status, 503);
    for (const path of ["/feed", `/posts/${waiting}`, "/users/ana/posts", "/me"]) {
      t.equal((await ana.request("GET", path)).status, 200, path);
    }
    t.equal((await sql.query("SELECT FROM posts")).rowCount, 1);
    t.equal((await sql.query("SELECT FROM media")).rowCount, 1);
    t.equal((await sql.query("SELECT FROM pending_originals")).rowCount, 4, "what may have been stored is known");

    // The server's way is open again, the worker's is not: its job waits and uses up no try.
    proxy.break(({ method, path }) => (method === "GET" && path.includes("/originals/") ? "hang" : null));
    const later = await ana.post([photo], { caption: "taken while the worker could read nothing" });
    await waitFor(async () => startedBefore.output().includes("the job is put back and waits"), "the job to wait");
    proxy.heal();
    t.equal((await processed(ana, later)).status, "published");
    const { rows } = await sql.query("SELECT max(retry_count) AS tries FROM pgboss.job WHERE name = 'media.process'");
    t.equal(rows[0].tries, 0);
    await waitFor(async () => (await readiness()).status === "ready", "readyz to be ready");

    await sql.query("UPDATE pending_originals SET created_at = now() - interval '2 hours'");
    await sql.query("INSERT INTO pgboss.job (name, data) VALUES ('media.sweep', '{}')");
    await waitFor(async () => (await sql.query("SELECT FROM pending_originals")).rowCount === 0, "the sweep");
    const content = await bucketContent(here);
    t.equal(Object.keys(content).length, 10, "two posts, and nothing of those that were refused");
    for (const [key, sha256] of Object.entries(before))
      t.equal(content[key], sha256, "what was acknowledged is as it was");
  });

  t.test("a store that is gone at the start is waited for", async (t) => {
    const { env } = await place(t, bucket("late"));
    const proxy = await startS3Proxy(t, service.endpoint);
    proxy.break(() => ({ status: 503, code: "SlowDown" }));
    const late = start(["serve", "--port", "0"], { ...(await env(proxy.url)), TINTYPE_S3_TIMEOUT: "500ms" });
    t.teardown(() => late.kill());
    const port = await waitFor(
      async () => /"port":(\d+),.*"msg":"listening"/.exec(late.output())?.[1],
      "serve to listen",
    );
    const ready = async () => (await fetch(`http://127.0.0.1:${port}/readyz`)).status;
    t.equal(await ready(), 503);
    proxy.heal();
    await waitFor(async () => (await ready()) === 200, "serve to be ready");
  });

  t.test("a backup carries it to another bucket, and to files", async (t) => {
    const from = bucket("from");
    const { env, url } = await place(t, from, { TINTYPE_WORKER_EMBEDDED: "true" });
    const settings = await env();
    const source = await startServer(settings);
    t.teardown(() => source.stop());
    const ana = await source.client.register("ana");
    await publish(ana, [photo]);
    const file = join(await folder(t), "backup.tar");
    await tintype(["backup", file], settings);
    const to = bucket("to");
    const emptyHere = async () => {
      const { env, databaseUrl } = await emptyTarget(t);
      return { env: { ...env, ...s3Environment(to) }, databaseUrl };
    };
    const target = await emptyHere();
    await tintype(["migrate"], { ...settings, ...s3Environment(to) });
    await tintype(["restore", file], target.env);
    t.same(await bucketContent(to), await bucketContent(from));
    t.same((await rowsOf(target.databaseUrl)).renditions, (await rowsOf(url)).renditions);
    const again = await emptyHere();
    t.match(await tintype(["restore", file], again.env, 1), { error: { message: /media store/ } }, "it is in use now");
  });
});
