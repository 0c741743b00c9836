import { execFileSync } from "node:child_process";
import { mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import t, { type Test } from "tap";
import { type Json, postForm, type SignedIn } from "../support/client.ts";
import { testDatabase } from "../support/database.ts";
import { picture } from "../support/pictures.ts";
import { run, type Started, start, startServer, temporaryFolder, waitFor } from "../support/server.ts";
import { processed, publish } from "../support/service.ts";

// Most of their time goes by until a job that was put back is taken again.
t.jobs = 3;

const photo = await picture({ width: 64, height: 64 });

/** A server, and a worker in a process of its own, which touches no post's job before `release`. */
async function startBoth(t: Test) {
  const { url } = await testDatabase(t);
  const sql = new pg.Pool({ connectionString: url, max: 1 });
  t.teardown(() => sql.end());
  const dataDir = await temporaryFolder(t);
  const env = { TINTYPE_DATABASE_URL: url, TINTYPE_DATA_DIR: dataDir };
  const server = await startServer({ ...env, TINTYPE_WORKER_EMBEDDED: "false" });
  t.teardown(() => server.kill());
  const ana = await server.client.register("ana");
  const worker = start(["worker"], env);
  t.teardown(() => worker.kill());
  await waitFor(async () => worker.output().includes("taking jobs"), "the worker to start");
  await sql.query(`CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN NEW.start_after := now() + interval '1 hour'; RETURN NEW; END$$`);
  await sql.query(`CREATE TRIGGER hold BEFORE INSERT ON pgboss.job_common FOR EACH ROW
    WHEN (NEW.name = 'media.process') EXECUTE FUNCTION hold()`);
  const release = async () => {
    await sql.query("DROP TRIGGER hold ON pgboss.job_common");
    await sql.query("UPDATE pgboss.job SET start_after = now() WHERE name = 'media.process' AND state = 'created'");
  };
  /** @returns how many tries were used up. */
  const retries = async () => {
    const { rows } = await sql.query("SELECT max(retry_count) AS retries FROM pgboss.job WHERE name = 'media.process'");
    return rows[0].retries;
  };
  return { env, sql, dataDir, server, ana, worker, release, retries };
}

async function putBack(worker: Started, times = 1): Promise<void> {
  const count = () => worker.output().split("the job is put back and waits").length - 1;
  await waitFor(async () => count() >= times, "the job to be put back");
}

async function refusedForNow(t: Test, person: SignedIn): Promise<void> {
  const { status, headers, body } = await person.request("POST", "/posts", { form: postForm([photo]) });
  t.match({ status, body }, { status: 503, body: { error: { code: "UNAVAILABLE" } } });
  t.ok(headers.get("retry-after"));
}

/** What /readyz says of a dependency; it looks at disks once a second. */
async function becomes(client: SignedIn, name: string, state: "up" | "down"): Promise<Json> {
  return waitFor(async () => {
    const { status, body } = await client.request("GET", "/readyz");
    return body.dependencies[name].state === state && { status, ...body.dependencies[name] };
  }, `${name} to be ${state}`);
}

async function doctor(env: Record<string, string>, name: string, code: number): Promise<Json> {
  const said = await run(["doctor", "--json"], env);
  if (said.code !== code) throw new Error(`doctor ended with ${said.code}: ${said.stdout}`);
  return JSON.parse(said.stdout).checks.find((check: Json) => check.name === name);
}

t.test("a media store that went away is waited for, and not made anew", { buffered: true }, async (t) => {
  const { env, dataDir, server, ana, worker, release, retries } = await startBoth(t);
  const [media, away] = [join(dataDir, "media"), join(dataDir, "away")];
  const post = await ana.post([photo]);
  await rename(media, away);
  // What is left where a disk was mounted.
  await mkdir(media);
  await release();
  await putBack(worker);
  t.match(await becomes(ana, "media", "down"), { status: 503, error: /tintype-store/ });
  await refusedForNow(t, ana);
  t.match(await doctor(env, "media store", 4), { state: "failed", mend: /Mount its disk again/ });
  t.equal((await ana.request("GET", `/posts/${post}`)).body.status, "processing");
  t.equal((await run(["worker"], env)).code, 4, "nor does a new process take the empty folder for the store");
  t.same(await readdir(media), [], "nothing was put there");
  t.same(await readdir(join(dataDir, "staging")), [], "nor left in staging");

  await rm(media, { recursive: true });
  await rename(away, media);
  t.match(await becomes(ana, "media", "up"), { status: 200 });
  const { status, media: shown } = await processed(ana, post);
  t.equal(status, "published");
  t.equal(await retries(), 0, "it cost no try");

  await rename(media, away);
  t.equal((await server.client.request("GET", shown[0].large_url)).status, 503, "out of reach, which is not absent");
  await rename(away, media);
  t.equal((await server.client.request("GET", shown[0].large_url)).status, 200);
});

t.test(
  "staging that cannot be used is waited for, and one that is gone is made again",
  { buffered: true },
  async (t) => {
    const { env, dataDir, ana, worker, release, retries } = await startBoth(t);
    const staging = join(dataDir, "staging");
    const post = await ana.post([photo]);
    await rm(staging, { recursive: true });
    await writeFile(staging, "");
    await release();
    await putBack(worker);
    t.match(await becomes(ana, "staging", "down"), { status: 503, required: true, error: /staging/ });
    await refusedForNow(t, ana);
    t.match(await doctor(env, "staging", 4), { state: "failed", mend: /\S/ });

    await rm(staging);
    t.equal((await processed(ana, post)).status, "published");
    t.equal(await retries(), 0, "it cost no try");
    t.match(await becomes(ana, "staging", "up"), { status: 200 });
    t.match(await doctor(env, "staging", 0), { state: "ok", message: /free/ });
  },
);

t.test(
  "a disk under staging that is full",
  { buffered: true, skip: process.getuid?.() !== 0 && "needs root" },
  async (t) => {
    const { dataDir, ana, worker, release, retries } = await startBoth(t);
    const staging = join(dataDir, "staging");
    const post = await ana.post([photo]);
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", staging], { stdio: "pipe" });
    } catch {
      return t.pass("a full disk", { skip: "no file system can be mounted here" });
    }
    const unmount = () => execFileSync("umount", ["-l", staging], { stdio: "pipe" });
    let mounted = true;
    t.teardown(() => mounted && unmount());
    await refusedForNow(t, ana);
    t.same(await readdir(staging), [], "refused before anything is written: the disk has too little to spare");
    // A folder can still be made there, but the decoder can write nothing into it.
    await writeFile(join(staging, "ballast"), Buffer.alloc(1024 * 1024)).catch(() => undefined);
    t.match(await becomes(ana, "staging", "down"), { status: 503, error: /ENOSPC/ });
    await release();
    await putBack(worker);
    t.same(await readdir(staging), ["ballast"], "the try has cleaned up");
    unmount();
    mounted = false;
    t.equal((await processed(ana, post)).status, "published");
    t.equal(await retries(), 0, "it cost no try");
    t.notMatch(worker.output(), /"job failed"/);
  },
);

t.test("an original that is lost, and a job that is", { buffered: true }, async (t) => {
  const { sql, dataDir, ana, release } = await startBoth(t);
  const [lost, waiting, forgotten] = await Promise.all([ana.post([photo]), ana.post([photo]), ana.post([photo])]);
  const medium = async (post: string) => (await ana.request("GET", `/posts/${post}`)).body.media[0].id;
  const lostMedium = await medium(lost);
  await rm(join(dataDir, "media", "originals", lostMedium.slice(-2), lostMedium));

  // Both as in a last try long ago: one was put back, of the other a killed worker was the last that knew.
  await sql.query("UPDATE media SET attempts = 3, attempted_at = now() - interval '1 day'");
  await sql.query("DELETE FROM pgboss.job WHERE name = 'media.process' AND data->>'medium_id' = $1", [
    await medium(forgotten),
  ]);
  await sql.query("INSERT INTO pgboss.job (name, data) VALUES ('media.sweep', '{}')");
  t.match(await processed(ana, forgotten), { status: "failed", failure: { code: "DECODER_CRASHED" } });
  for (const post of [lost, waiting]) {
    t.equal((await ana.request("GET", `/posts/${post}`)).body.status, "processing", "a job that waits is not lost");
  }

  await release();
  t.equal((await processed(ana, waiting)).status, "published");
  t.match(
    await processed(ana, lost),
    { status: "failed", failure: { code: "PROCESSING_FAILED", message: /server/ } },
    "the picture is not to blame",
  );
  t.match(await publish(ana, [photo]), { status: "published" });
});
