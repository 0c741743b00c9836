import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import t from "tap";
import type { Json } from "../support/client.ts";
import { exactly } from "../support/exactly.ts";
import { picture, truncated } from "../support/pictures.ts";
import { run, waitFor } from "../support/server.ts";
import { processed, publish, startService } from "../support/service.ts";

const { client, dataDir, databaseUrl, env, server } = await startService(t);
const alice = await client.register("alice");
const bob = await client.register("bob");
await bob.request("POST", "/users/alice/follow");

const good = await picture({ width: 400, height: 300 });
const bad: Record<string, { files: Buffer[]; code: string }> = {
  "a truncated JPEG": { files: [truncated(good)], code: "PICTURE_UNREADABLE" },
  "a truncated PNG behind a good picture": {
    files: [good, truncated(await picture({ format: "png" }))],
    code: "PICTURE_UNREADABLE",
  },
  "a truncated WebP": { files: [truncated(await picture({ format: "webp" }))], code: "PICTURE_UNREADABLE" },
  "a truncated AVIF": { files: [truncated(await picture({ format: "avif" }), 0.9)], code: "PICTURE_UNREADABLE" },
  "noise that begins like a GIF": {
    files: [Buffer.concat([Buffer.from("GIF89a\x40\0\x40\0"), Buffer.from("noise".repeat(99))])],
    code: "PICTURE_UNREADABLE",
  },
  "a bomb that hides its size behind 300 KB": { files: [hiddenBomb(good)], code: "PICTURE_TOO_LARGE" },
};
const ids: Record<string, string> = {};
for (const [what, { files }] of Object.entries(bad)) ids[what] = await alice.post(files, { caption: what });
const withdrawn = await alice.post([truncated(good)]);
const first = ids["a truncated JPEG"] ?? "";

t.test("a good picture behind bad ones does not wait for them", async (t) => {
  await waitFor(async () => (await failedTries(withdrawn)).length === 1, "all to fail for the first time");
  waiting = await read(first);
  t.equal(waiting.status, "processing", "a failed try is not a failed post");
  inTime = await publish(alice, [good], { caption: "the good one" });
  t.same((await bob.request("GET", "/feed")).body.items, [inTime]);
  t.equal((await alice.request("DELETE", `/posts/${withdrawn}`)).status, 204, "between two tries");
});
/** The post above, and one as it was between two tries. */
let inTime: Json;
let waiting: Json;

t.test("what is being processed exists for its author alone", async (t) => {
  t.match(waiting, { failure: null, published_at: null, caption: "a truncated JPEG" });
  const [medium] = waiting.media;
  t.match(medium, { width: null, height: null, thumbhash: null, thumbnail_url: null, large_url: null });
  t.equal((await client.request("GET", `/media/${medium.id}/large.webp`)).status, 404);
  const nothing = "00000000-0000-7000-8000-000000000000";
  const changes: [method: string, json?: unknown][] = [["GET"], ["DELETE"], ["PATCH", { caption: "mine" }]];
  for (const [method, json] of changes) {
    const [there, not] = await Promise.all([first, nothing].map((id) => bob.request(method, `/posts/${id}`, { json })));
    t.equal(there?.status, 404);
    t.same(withoutId(there?.body), withoutId(not?.body), "byte for byte what is not there");
  }
});

t.test("three tries, at least 2 and 4 seconds apart, then failed with a reason", async (t) => {
  for (const [what, { files, code }] of Object.entries(bad)) {
    const id = ids[what] ?? "";
    const post = await processed(alice, id);
    t.match(
      post,
      { status: "failed", failure: { code, message: /^The .+\.$/ }, published_at: null, caption: what },
      what,
    );
    t.notMatch(post.failure.message, /vips|sharp|\//i, "in words for people");
    t.equal(post.media.length, files.length);
    const times = await failedTries(id);
    t.equal(times.length, 3, `${what}: three tries`);
    const [one = 0, two = 0, three = 0] = times;
    // No sooner; a busy machine is free to be later.
    t.ok(two - one > 1_900, `${what}: ${two - one} ms after the first`);
    t.ok(three - two > 3_900, `${what}: ${three - two} ms after the second`);
    t.equal((await bob.request("GET", `/posts/${id}`)).status, 404, "failed: for its author alone");
  }
  const metrics = (await client.request("GET", "/metrics")).bytes.toString();
  const observed = Number(/^instagram_image_processing_seconds_count (\d+)$/m.exec(metrics)?.[1]);
  t.ok(observed >= 3 * Object.keys(bad).length, `failed tries are measured too: ${observed}`);
  t.match((await bob.request("GET", "/feed")).body.items, exactly({ id: inTime.id }));
  t.match((await alice.request("GET", "/users/alice/posts")).body.items, exactly({ id: inTime.id }));
  t.match((await alice.request("GET", "/me")).body, { post_count: 1 });
});

t.test("dead letters are listed, and run again when the cause is mended", async (t) => {
  const lost = Object.values(ids).map(async (id) => (await read(id)).media);
  const media = (await Promise.all(lost)).flat().filter((medium) => medium.large_url === null);
  // A post says that it has failed a moment before its job has ended.
  const letters: Json[] = await waitFor(async () => {
    const found = await deadLetters();
    return found.length >= media.length && found;
  }, "the letters");
  t.same(letters.map((letter) => letter.data.medium_id).sort(), media.map((medium) => medium.id).sort());
  for (const letter of letters) {
    t.match(letter, { queue: "media.process", state: "failed", attempts: 3, reason: /^The \w/ });
  }

  const [medium] = (await read(first)).media;
  const letter = letters.find((job) => job.data.medium_id === medium.id);
  const original = join(dataDir, "media", "originals", medium.id.slice(-2), medium.id);
  await writeFile(original, good);
  t.match(await cli("jobs", "retry", letter?.id), { retried: 1 });
  const post = await waitFor(async () => (await bob.request("GET", "/feed")).body.items.find(isFirst), "the post");
  t.match(post, { status: "published", failure: null, media: exactly({ width: 400, height: 300 }) });
  t.match(
    (await bob.request("GET", "/feed")).body.items,
    exactly({ id: first }, { id: inTime.id }),
    "on top, not where it was",
  );
  t.match((await alice.request("GET", "/me")).body, { post_count: 2 });
  t.equal((await client.request("GET", post.media[0].large_url)).status, 200);

  t.notOk(
    (await deadLetters()).some((job) => job.id === letter?.id),
    "the letter is gone",
  );
  const again = await run(["jobs", "retry", letter?.id ?? ""], env);
  t.equal(again.code, 1, "and cannot be run twice");
  t.match(again.stderr, /not among the failed/);
  t.equal((await run(["jobs", "retry", "nonsense"], env)).code, 2);
});

t.test("a post that was deleted stays so, whatever is run again", async (t) => {
  const failed = ids["a truncated PNG behind a good picture"] ?? "";
  const { media } = await read(failed);
  t.equal((await alice.request("DELETE", `/posts/${failed}`)).status, 204);
  await waitFor(async () => (await filesOf(media)).length === 0, "its files to go");
  const letter = (await deadLetters()).find((job) => job.data.medium_id === media[1].id);
  t.match(await cli("jobs", "retry", letter?.id), { retried: 1 });
  await waitFor(async () => (await openJobs()) === 0, "the job to run");
  t.same(await filesOf(media), []);
  t.equal((await alice.request("GET", `/posts/${failed}`)).status, 404);
});

t.test("a job that runs again changes nothing", async (t) => {
  const before = await Promise.all([read(first), read(inTime.id), alice.request("GET", "/me")]);
  const files = await filesOf([...before[0].media, ...before[1].media]);
  const repeated = await query(
    `UPDATE pgboss.job SET state = 'created', started_on = NULL, completed_on = NULL
     WHERE name = 'media.process' AND state = 'completed' RETURNING id`,
  );
  t.ok(repeated.length >= 3, "those of three media");
  await waitFor(async () => (await openJobs()) === 0, "all jobs to run");
  const after = await Promise.all([read(first), read(inTime.id), alice.request("GET", "/me")]);
  t.same(after.slice(0, 2), before.slice(0, 2));
  t.same(after[2].body, before[2].body);
  t.same(await filesOf([...before[0].media, ...before[1].media]), files);
  t.same(await readdir(join(dataDir, "staging")), [], "no try left anything staged");
});

t.test("a try has time for the longest decoding, and for that of the file before it", async (t) => {
  const check = (timeout: string) => run(["config", "check"], { ...env, TINTYPE_MEDIA_DECODE_TIMEOUT: timeout });
  t.equal((await check("2m")).code, 0);
  t.equal((await check("121s")).code, 3);
  const [queue] = await query("SELECT expire_seconds FROM pgboss.queue WHERE name = 'media.process'");
  t.ok(queue.expire_seconds >= 2 * 120 + 60);
});

/** A sound JPEG, but for its size: 30,000 x 30,000, told after more than a reader of headers looks at. */
function hiddenBomb(jpeg: Buffer): Buffer {
  const bomb = Buffer.from(jpeg);
  const frame = bomb.indexOf(Buffer.from([0xff, 0xc0]));
  bomb.writeUInt16BE(30_000, frame + 5);
  bomb.writeUInt16BE(30_000, frame + 7);
  const comment = Buffer.concat([Buffer.from([0xff, 0xfe, 0xff, 0xff]), Buffer.alloc(0xfffd, "x")]);
  return Buffer.concat([bomb.subarray(0, 2), ...Array.from({ length: 5 }, () => comment), bomb.subarray(2)]);
}

async function read(postId: string): Promise<Json> {
  return (await alice.request("GET", `/posts/${postId}`)).body;
}

function isFirst(post: Json): boolean {
  return post.id === first;
}

function withoutId(body: Json): Json {
  return { ...body.error, request_id: null };
}

/** When each try of a post's media failed, in milliseconds: the log says so. */
async function failedTries(postId: string): Promise<number[]> {
  const jobs = await query(
    `SELECT job.id FROM pgboss.job JOIN post_media ON post_media.medium_id::text = job.data->>'medium_id'
     WHERE job.name = 'media.process' AND post_media.post_id = $1`,
    [postId],
  );
  return server
    .output()
    .split("\n")
    .filter((line) => line.includes('"msg":"job failed"'))
    .map((line) => JSON.parse(line))
    .filter((entry) => jobs.some((job) => job.id === entry.job_id))
    .map((entry) => Date.parse(entry.time));
}

/** Jobs that wait, run or are to be tried again. */
async function openJobs(): Promise<number> {
  const [row] = await query(
    "SELECT count(*)::int AS open FROM pgboss.job WHERE name LIKE 'media.%' AND state IN ('created', 'retry', 'active')",
  );
  return row.open;
}

async function query(text: string, values: unknown[] = []): Promise<Json[]> {
  const connection = new pg.Client({ connectionString: databaseUrl });
  await connection.connect();
  try {
    return (await connection.query(text, values)).rows;
  } finally {
    await connection.end();
  }
}

/** Runs a command, which must succeed. @returns what it printed with --json. */
async function cli(...args: string[]): Promise<Json> {
  const { code, stdout, stderr } = await run([...args, "--json"], env);
  if (code !== 0) throw new Error(`${args.join(" ")} ended with ${code}: ${stderr}`);
  return JSON.parse(stdout);
}

async function deadLetters(): Promise<Json[]> {
  return (await cli("jobs", "list", "--failed")).jobs;
}

/** The paths of all objects of these media. */
async function filesOf(media: readonly { id: string }[]): Promise<string[]> {
  const paths = await readdir(join(dataDir, "media"), { recursive: true });
  return paths.filter((path) => media.some(({ id }) => path.includes(id))).sort();
}
