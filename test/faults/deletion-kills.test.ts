import { readdir, utimes } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import t, { type Test } from "tap";
import { brake, objectsOf, tintype } from "../support/backup.ts";
import type { SignedIn } from "../support/client.ts";
import { picture } from "../support/pictures.ts";
import { type Server, type Started, start, startServer, waitFor } from "../support/server.ts";
import { processed, startService } from "../support/service.ts";

const { client, dataDir, databaseUrl, env } = await startService(t, { TINTYPE_WORKER_EMBEDDED: "false" });
const sql = new pg.Pool({ connectionString: databaseUrl, max: 4 });
t.teardown(() => sql.end());
const photo = await picture({ width: 300, height: 200 });
const staging = join(dataDir, "staging");

/** Where a worker is stopped: the lock that its next statement waits for. Reads go on, but where that is what waits. */
interface Step {
  at: string;
  table: string;
  mode?: string;
}

const REMOVAL: Step[] = [
  { at: "before the medium is marked", table: "media", mode: "SHARE" },
  { at: "between the mark and the objects", table: "backup_leases" },
  { at: "between the objects and the row", table: "renditions", mode: "SHARE" },
];
const ACCOUNT: Step[] = [
  { at: "before the posts", table: "posts", mode: "SHARE" },
  ...REMOVAL,
  { at: "before the account's row", table: "users", mode: "SHARE" },
];

function startWorker(t: Test, settings: Record<string, string> = {}): Started {
  const worker = start(["worker"], { ...env, TINTYPE_WORKER_CONCURRENCY: "1", ...settings });
  t.teardown(() => worker.kill());
  return worker;
}

/** That a killed worker is missed after a while is tested elsewhere. */
const missed = () =>
  sql.query("UPDATE pgboss.job SET state = 'retry', start_after = now(), heartbeat_on = NULL WHERE state = 'active'");

/** Lets a worker come as far as the step, and kills it there. */
async function killAt(t: Test, { at, table, mode }: Step): Promise<void> {
  const held = await brake(t, databaseUrl, table, mode);
  const worker = startWorker(t);
  await waitFor(() => held.waiting(), `a worker that waits ${at}`);
  await worker.kill();
  await held.release();
  await missed();
  t.pass(`killed ${at}`);
}

const idle = () =>
  waitFor(async () => {
    const { rowCount } = await sql.query(
      "SELECT FROM pgboss.job WHERE (name LIKE 'media.%' OR name LIKE 'accounts.%') AND name NOT LIKE '%sweep%' AND state < 'completed'",
    );
    return rowCount === 0;
  }, "all jobs to be done");

/** What the rows say that there should be: as keys, in a telling of the test's own. */
async function expectedKeys(): Promise<string[]> {
  const { rows } = await sql.query(`
    SELECT 'originals/' || right(id::text, 2) || '/' || id AS key FROM media WHERE original_dropped_at IS NULL
    UNION ALL
    SELECT 'renditions/' || right(medium_id::text, 2) || '/' || medium_id || '/' ||
      CASE version WHEN '' THEN '' ELSE version || '/' END || name || '.webp' FROM renditions`);
  return rows.map(({ key }) => String(key)).sort();
}

/** Finishes what is left with a worker that lives, and compares the listing of the store with the rows. */
async function assertNothingLeft(t: Test): Promise<void> {
  const worker = startWorker(t);
  await idle();
  await waitFor(async () => {
    for (const name of await readdir(staging)) await utimes(join(staging, name), new Date(0), new Date(0));
    await sql.query("INSERT INTO pgboss.job (name, data) VALUES ('media.sweep', '{}')");
    return (await readdir(staging)).length === 0;
  }, "staging to be empty");
  t.same(Object.keys(await objectsOf(dataDir)).sort(), await expectedKeys());
  t.same((await sql.query("SELECT FROM media WHERE state = 'removed'")).rowCount, 0);
  await worker.stop();
  t.equal((await tintype(["media", "verify", "--older-than", "0s"], env)).ok, true);
}

async function publishAll(t: Test, author: SignedIn, count: number): Promise<string[]> {
  const worker = startWorker(t);
  const posts = await Promise.all(Array.from({ length: count }, () => author.post([photo, photo])));
  for (const post of posts) await processed(author, post);
  await worker.stop();
  return posts;
}

const bystander = await client.register("bystander");
await publishAll(t, bystander, 1);
const kept = Object.keys(await objectsOf(dataDir)).length;
t.equal(kept, 10);

t.test("a post's deletion, killed at each step", async (t) => {
  const ana = await client.register("ana");
  const [post] = await publishAll(t, ana, 1);
  t.equal((await ana.request("DELETE", `/posts/${post}`)).status, 204);
  for (const step of REMOVAL) await killAt(t, step);
  await assertNothingLeft(t);
  t.equal(Object.keys(await objectsOf(dataDir)).length, kept);
});

t.test("an account's deletion, killed at each step", async (t) => {
  const bea = await client.register("bea");
  await publishAll(t, bea, 2);
  t.equal((await bea.request("DELETE", "/me", { json: { password: bea.password } })).status, 202);
  for (const step of ACCOUNT) await killAt(t, step);
  await assertNothingLeft(t);
  t.equal((await sql.query("SELECT FROM users WHERE id = $1", [bea.id])).rowCount, 0);
  t.equal(Object.keys(await objectsOf(dataDir)).length, kept);
});

t.test("a picture that is deleted while it is made, and made again", async (t) => {
  const cleo = await client.register("cleo");
  const post = await cleo.post([photo]);
  await killAt(t, { at: "between the renditions and their rows", table: "renditions", mode: "SHARE" });
  t.ok(Object.keys(await objectsOf(dataDir)).length > kept + 1, "renditions lie there without a row");
  t.equal((await cleo.request("DELETE", `/posts/${post}`)).status, 204);
  await assertNothingLeft(t);

  const [again] = await publishAll(t, cleo, 1);
  await tintype(["media", "reprocess", "--user", "cleo"], env);
  await killAt(t, { at: "between the new renditions and their rows", table: "renditions", mode: "SHARE" });
  const worker = startWorker(t);
  await waitFor(async () => (await sql.query("SELECT FROM renditions WHERE version <> ''")).rowCount === 8, "new ones");
  await worker.kill();
  await missed();
  t.ok(Object.keys(await objectsOf(dataDir)).length >= kept + 2 + 3 * 4, "the old, the killed try's and the new");
  t.equal((await cleo.request("DELETE", `/posts/${again}`)).status, 204);
  await sql.query("UPDATE pgboss.job SET start_after = now() WHERE name = 'media.discard' AND state = 'created'");
  for (const step of REMOVAL.slice(1)) await killAt(t, step);
  await assertNothingLeft(t);
  t.equal(Object.keys(await objectsOf(dataDir)).length, kept);
});

t.test("workers killed at moments that nobody chose", async (t) => {
  const seed = Number(process.env.TINTYPE_TEST_SEED ?? Date.now() % 100_000);
  t.comment(`TINTYPE_TEST_SEED=${seed}`);
  let state = seed;
  const random = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
  const dan = await client.register("dan");
  const posts = await publishAll(t, dan, 6);
  for (const post of posts.slice(0, 3)) t.equal((await dan.request("DELETE", `/posts/${post}`)).status, 204);
  t.equal((await dan.request("DELETE", "/me", { json: { password: dan.password } })).status, 202);
  const left = async () => (await sql.query("SELECT FROM media WHERE owner_id = $1", [dan.id])).rowCount ?? 0;
  const states: number[] = [];
  for (let kill = 0; kill < 6; kill++) {
    const worker = startWorker(t);
    await waitFor(
      async () => /"msg":"taking jobs"|listening|ready/.test(worker.output()) || (await left()) === 0,
      "it",
    );
    await new Promise((resolve) => setTimeout(resolve, random() * 400));
    await worker.kill();
    await missed();
    states.push(await left());
  }
  t.comment(`media that were left at each kill: ${states.join(", ")}`);
  await assertNothingLeft(t);
  t.equal(Object.keys(await objectsOf(dataDir)).length, kept);
});

t.test("an upload that is killed between its original and its row", async (t) => {
  const servers: Server[] = [];
  t.teardown(async () => {
    for (const server of servers) await server.kill();
  });
  const eve = await client.register("eve");
  const victim = await startServer(env);
  servers.push(victim);
  const held = await brake(t, databaseUrl, "media", "SHARE");
  const form = new FormData();
  form.append("media", new Blob([Uint8Array.from(photo)]), "photo.jpg");
  const upload = victim.client.as(eve.token).request("POST", "/posts", { form });
  upload.catch(() => undefined);
  await waitFor(() => held.waiting(), "the row to wait");
  await victim.kill();
  await t.rejects(upload);
  await held.release();
  t.equal(Object.keys(await objectsOf(dataDir)).length, kept + 1, "the original is there");
  t.equal((await tintype(["media", "verify", "--older-than", "0s"], env)).ok, true, "and the sweeper's");
  await sql.query("UPDATE pending_originals SET created_at = created_at - interval '2 hours'");
  const worker = startWorker(t);
  await waitFor(async () => {
    await sql.query("INSERT INTO pgboss.job (name, data) VALUES ('media.sweep', '{}')");
    return (await sql.query("SELECT FROM pending_originals")).rowCount === 0;
  }, "the sweep");
  await worker.stop();
  await assertNothingLeft(t);
  t.equal(Object.keys(await objectsOf(dataDir)).length, kept);
});
