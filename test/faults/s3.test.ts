import { createHash, randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import sharp from "sharp";
import t, { type Test } from "tap";
import { bucketContent, s3Environment } from "../support/bucket.ts";
import { postForm, type SignedIn } from "../support/client.ts";
import { testDatabase } from "../support/database.ts";
import { startProxy } from "../support/proxy.ts";
import { startS3Proxy } from "../support/s3-proxy.ts";
import { run, type Started, start, startServer, temporaryFolder, waitFor } from "../support/server.ts";
import { processed, publish } from "../support/service.ts";
import { type S3Service, s3Service } from "../support/services.ts";

t.setTimeout(1_200_000);

/** Milliseconds. */
const BEFORE = 3_000;
const FAULT = 6_000;
const AFTER = 4_000;
const AUTHORS = 4;

/** A picture like no other, of some 100 KB. */
async function newPicture(): Promise<Buffer> {
  const [width, height] = [320, 240];
  return sharp(randomBytes(width * height * 3), { raw: { width, height, channels: 3 } })
    .jpeg({ quality: 90 })
    .toBuffer();
}

const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

interface Acknowledged {
  postId: string;
  author: SignedIn;
  hashes: string[];
}

/** Posts one after the other until told to stop. */
function upload(
  author: SignedIn,
  stopped: () => boolean,
): Promise<{ taken: Acknowledged[]; refused: number[]; slowest: number }> {
  const taken: Acknowledged[] = [];
  const refused: number[] = [];
  let slowest = 0;
  const work = async () => {
    while (!stopped()) {
      const pictures = await Promise.all([newPicture(), newPicture()]);
      const began = performance.now();
      const { status, body } = await author.request("POST", "/posts", { form: postForm(pictures) });
      if (status === 202) taken.push({ postId: body.post_id, author, hashes: pictures.map(sha256) });
      else {
        refused.push(status);
        slowest = Math.max(slowest, performance.now() - began);
      }
      await delay(50);
    }
    return { taken, refused, slowest };
  };
  return work();
}

/** What the rows say that the bucket holds. */
async function knownObjects(sql: pg.Pool): Promise<Record<string, string>> {
  const { rows } = await sql.query<{ key: string; sha256: string }>(
    `SELECT 'originals/' || right(id::text, 2) || '/' || id AS key, encode(sha256, 'hex') AS sha256 FROM media
     UNION ALL
     SELECT 'renditions/' || right(medium_id::text, 2) || '/' || medium_id || '/' || name || '.webp', encode(sha256, 'hex')
     FROM renditions`,
  );
  return Object.fromEntries(rows.map(({ key, sha256 }) => [key, sha256]));
}

/** Lets the sweeper take what refused uploads may have stored. */
async function sweep(sql: pg.Pool): Promise<void> {
  await sql.query("UPDATE pending_originals SET created_at = now() - interval '2 hours'");
  await sql.query("INSERT INTO pgboss.job (name, data) VALUES ('media.sweep', '{}')");
  await waitFor(async () => (await sql.query("SELECT FROM pending_originals")).rowCount === 0, "the sweep");
}

async function place(t: Test, service: S3Service, endpoint: string) {
  const { url } = await testDatabase(t);
  const sql = new pg.Pool({ connectionString: url, max: 2 });
  t.teardown(() => sql.end());
  const env = async () => ({
    TINTYPE_DATABASE_URL: url,
    TINTYPE_DATA_DIR: await temporaryFolder(t),
    TINTYPE_WORKER_EMBEDDED: "false",
    ...s3Environment(service, endpoint),
  });
  const { code, stderr } = await run(["migrate"], { ...(await env()), ...s3Environment(service) });
  if (code !== 0) throw new Error(`migrate: ${code} ${stderr}`);
  return { sql, env };
}

async function startWorker(t: Test, env: Record<string, string>): Promise<Started> {
  const worker = start(["worker"], env);
  t.teardown(() => worker.kill());
  await waitFor(async () => worker.output().includes("taking jobs"), "the worker to start");
  return worker;
}

for (const fault of [
  "MinIO is killed",
  "MinIO is stopped (SIGSTOP)",
  "the way to MinIO is cut",
  "the way hangs",
  "the worker is killed",
]) {
  t.test(`under load: ${fault}`, async (t) => {
    const service = await s3Service(t, { own: true });
    if (!service) return;
    const way = await startProxy(t, service.endpoint);
    const { sql, env } = await place(t, service, way.url.replace(/\/$/, ""));
    const server = await startServer(await env());
    t.teardown(() => server.kill());
    const workerEnv = await env();
    let worker = await startWorker(t, workerEnv);
    const authors: SignedIn[] = [];
    for (let n = 0; n < AUTHORS; n++) authors.push(await server.client.register(`author${n}`));

    let stopped = false;
    const uploads = authors.map((author) => upload(author, () => stopped));
    await delay(BEFORE);
    if (fault === "MinIO is killed") await service.kill();
    else if (fault === "MinIO is stopped (SIGSTOP)") await service.pause();
    else if (fault === "the way to MinIO is cut") await way.cut();
    else if (fault === "the way hangs") way.hang();
    else await worker.kill();
    const reads: number[] = [];
    for (const end = Date.now() + FAULT; Date.now() < end; await delay(200)) {
      for (const path of ["/feed", "/me"]) reads.push((await authors[0]?.request("GET", path))?.status ?? 0);
    }
    if (fault === "MinIO is killed") await service.restart();
    else if (fault === "MinIO is stopped (SIGSTOP)") await service.resume();
    else if (fault === "the worker is killed") worker = await startWorker(t, workerEnv);
    else {
      await way.cut();
      await way.open();
    }
    await delay(AFTER);
    stopped = true;
    const outcomes = await Promise.all(uploads);
    const taken = outcomes.flatMap(({ taken }) => taken);
    const refused = outcomes.flatMap(({ refused }) => refused);
    const slowest = Math.max(...outcomes.map(({ slowest }) => slowest));

    t.ok(
      refused.every((status) => status === 503),
      `refused: ${refused}`,
    );
    t.ok(fault === "the worker is killed" || refused.length > 0, "the fault was felt");
    t.ok(
      reads.every((status) => status === 200),
      "reads of rows went on",
    );
    for (const { author, postId } of taken) {
      const post = await processed(author, postId);
      if (post.status !== "published") t.fail(`${postId} is ${post.status}: ${JSON.stringify(post.failure)}`);
    }
    await sweep(sql);
    const known = await knownObjects(sql);
    const content = await bucketContent(service);
    t.same(content, known, "the bucket holds what the rows say, to the bit, and nothing else");
    const originals = new Set(Object.values(content));
    const lost = taken.flatMap(({ hashes }) => hashes).filter((hash) => !originals.has(hash));
    t.same(lost, [], "every picture that was acknowledged is there");
    t.equal((await sql.query("SELECT FROM posts")).rowCount, taken.length, "no post that was refused");
    const { rows } = await sql.query("SELECT count(*)::int AS n FROM pgboss.job WHERE name = 'dead_letters'");
    t.equal(rows[0].n, 0, "no dead letters");
    t.comment(
      `${taken.length} posts taken, ${refused.length} refused, the slowest refusal after ${Math.round(slowest)} ms`,
    );
  });
}

t.test("a deletion that is killed at each of its requests to the store leaves not one object", async (t) => {
  const service = await s3Service(t);
  if (!service) return;
  const proxy = await startS3Proxy(t, service.endpoint);
  const { sql, env } = await place(t, service, proxy.url);
  const server = await startServer(await env());
  t.teardown(() => server.kill());
  const workerEnv = await env();
  for (const what of ["post", "account"] as const) {
    for (let step = 1; ; step++) {
      const worker = await startWorker(t, workerEnv);
      const author = await server.client.register(`${what}er${step}`);
      const { id } = await publish(author, [await newPicture(), await newPicture()]);
      const before = proxy.seen.length;
      let held = false;
      proxy.break((_request, nth) => {
        held ||= nth - before >= step;
        return held ? "hang" : null;
      });
      if (what === "post") await author.request("DELETE", `/posts/${id}`);
      else await author.request("DELETE", "/me", { json: { password: author.password } });
      const gone = async () => (await sql.query("SELECT FROM media")).rowCount === 0;
      await waitFor(async () => held || (await gone()), `request ${step}, or the end`);
      await worker.kill();
      proxy.heal();
      const second = await startWorker(t, workerEnv);
      await waitFor(gone, "the deletion to be done");
      await second.stop();
      t.same(await bucketContent(service), {}, `${what}: killed at request ${step}`);
      if (!held) {
        t.ok(step > 1, `${step - 1} requests in all`);
        break;
      }
    }
  }
});
