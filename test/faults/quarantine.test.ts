import { createHash } from "node:crypto";
import { readdir, readFile, readlink } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import t, { type Test } from "tap";
import { type Json, postForm, type SignedIn } from "../support/client.ts";
import { testDatabase } from "../support/database.ts";
import { exactly } from "../support/exactly.ts";
import { bomb, picture } from "../support/pictures.ts";
import { swelling } from "../support/poison.ts";
import { run, type Started, start, startServer, temporaryFolder, waitFor } from "../support/server.ts";
import { processed, publish } from "../support/service.ts";

// Most of their time goes by between two tries, or until a killed worker is missed.
t.jobs = 3;

const good = await picture({ width: 300, height: 200 });
/** A sound picture of some hundred milliseconds' work, which is made to stall by stopping its decoder. */
const heavy = bomb(7000, 7000);
const heavyHash = createHash("sha256").update(heavy).digest("hex");

async function surroundings(t: Test, settings: Record<string, string> = {}) {
  const { url } = await testDatabase(t);
  const sql = new pg.Pool({ connectionString: url, max: 2 });
  t.teardown(() => sql.end());
  const dataDir = await temporaryFolder(t);
  const env = { TINTYPE_DATABASE_URL: url, TINTYPE_DATA_DIR: dataDir, ...settings };
  const server = await startServer({ ...env, TINTYPE_WORKER_EMBEDDED: "false" });
  t.teardown(() => server.stop());
  const people = { ana: await server.client.register("ana"), bob: await server.client.register("bob") };
  /** Spares the test the seconds between two tries. */
  const hurry = () =>
    sql.query(
      "UPDATE pgboss.job SET start_after = now() WHERE name = 'media.process' AND state IN ('created', 'retry')",
    );
  const known = async (): Promise<Json[]> =>
    (
      await sql.query(
        "SELECT encode(sha256, 'hex') AS sha256, crashes, losses, quarantined, reason FROM decode_crashes",
      )
    ).rows;
  return { env, sql, dataDir, server, hurry, known, ...people };
}

async function cli(env: Record<string, string>, ...args: string[]): Promise<Json> {
  const { code, stdout, stderr } = await run([...args, "--json"], env);
  if (code !== 0) throw new Error(`${args.join(" ")}: ${code} ${stdout} ${stderr}`);
  return JSON.parse(stdout);
}

/** The decoders of a process, and what of the media's originals they have open. */
async function decodersOf(pid: number): Promise<{ pid: number; files: string[] }[]> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8").catch(() => "");
  return Promise.all(
    children
      .split(" ")
      .filter(Boolean)
      .map(async (child) => ({ pid: Number(child), files: await openFiles(Number(child)) })),
  );
}

async function openFiles(pid: number): Promise<string[]> {
  const names = await readdir(`/proc/${pid}/fd`).catch(() => []);
  const links = await Promise.all(names.map((name) => readlink(`/proc/${pid}/fd/${name}`).catch(() => "")));
  return links.filter((link) => link.includes("/originals/"));
}

async function refused(t: Test, person: SignedIn, pictures: Buffer[], position: number): Promise<void> {
  const { status, body } = await person.request("POST", "/posts", { form: postForm(pictures) });
  t.match({ status, body }, { status: 422, body: { error: { code: "PICTURE_QUARANTINED", details: { position } } } });
  t.equal(body.error.details.sha256, heavyHash);
}

t.test("a content that costs three decoders is in quarantine for everybody", { buffered: true }, async (t) => {
  // Less than the one picture takes, and enough for the other.
  const { env, sql, server, hurry, known, ana, bob } = await surroundings(t, {
    TINTYPE_MEDIA_DECODER_MEMORY: "128mb",
    TINTYPE_WORKER_CONCURRENCY: "2",
  });
  const swollen = await swelling(1);
  const hash = createHash("sha256").update(swollen).digest("hex");
  // Two workers at once, and three uploads of the same by two people: their crashes add up.
  const workers = [start(["worker"], env), start(["worker"], env)];
  t.teardown(() => Promise.all(workers.map((worker) => worker.stop())));
  const posts = [
    [ana, await ana.post([good, swollen])],
    [ana, await ana.post([swollen])],
    [bob, await bob.post([swollen])],
  ] as const;
  await waitFor(async () => {
    await hurry();
    const { rows } = await sql.query("SELECT count(*)::int AS n FROM media WHERE state = 'failed'");
    return rows[0].n === 3;
  }, "the three to fail");
  for (const [author, id] of posts) {
    const post = await processed(author, id);
    t.match(post, { status: "failed", failure: { code: "PICTURE_QUARANTINED", message: /not tried any more/ } });
  }
  const [content, ...others] = await known();
  t.same(others, [], "nobody else is suspected");
  t.match(content, { sha256: hash, losses: 0, quarantined: true, reason: /bytes of memory|out of memory/ });
  const costs = workers.flatMap((worker) => worker.output().match(/"a file cost its decoder"/g) ?? []).length;
  t.equal(content.crashes, costs, "each counted once");
  t.ok(costs >= 3 && costs <= 5, `${costs}: the third, and what the other worker had in hand then`);
  t.match(await publish(ana, [good]), { status: "published" });

  for (const person of [ana, bob]) {
    const answer = await person.request("POST", "/posts", { form: postForm([good, swollen]) });
    t.match(answer, { status: 422, body: { error: { code: "PICTURE_QUARANTINED", details: { position: 2 } } } });
  }
  const form = new FormData();
  form.append("file", new Blob([Uint8Array.from(swollen)]), "me.png");
  t.match(await bob.request("PUT", "/me/avatar", { form }), {
    status: 422,
    body: { error: { code: "PICTURE_QUARANTINED" } },
  });
  t.same(await readdir(join(env.TINTYPE_DATA_DIR, "staging")), [], "nothing stays staged");
  t.match(await cli(env, "media", "quarantine"), {
    contents: exactly({ sha256: hash, quarantined: true, crashes: costs, losses: 0, media: 3, owners: 2 }),
  });
  t.ok(server.process.exitCode === null);

  // All that wait for another try find it out without decoding.
  await waitFor(async () => {
    await hurry();
    return (await cli(env, "jobs", "list", "--failed")).jobs.length === 3;
  }, "their jobs to be dead letters");
  t.equal((await known())[0]?.crashes, costs);

  t.match(await cli(env, "media", "quarantine", "--release", hash, "--dry-run"), { sha256: hash, dry_run: true });
  t.equal((await known()).length, 1, "only said");
  t.match(await cli(env, "media", "quarantine", "--release", hash.toUpperCase()), { media: 3, dry_run: false });
  t.same(await cli(env, "media", "quarantine", "--all"), { contents: [] });
  const again = await run(["media", "quarantine", "--release", hash], env);
  t.equal(again.code, 1);
  t.match(again.stderr, /in quarantine/);
  t.equal((await run(["media", "quarantine", "--release", "9f86"], env)).code, 2);

  await Promise.all(workers.map((worker) => worker.stop()));
  const roomy = start(["worker"], { ...env, TINTYPE_MEDIA_DECODER_MEMORY: "1gb" });
  t.teardown(() => roomy.stop());
  t.match(await cli(env, "jobs", "retry", "--all"), { retried: 3 });
  for (const [author, id] of posts) {
    await waitFor(async () => (await author.request("GET", `/posts/${id}`)).body.status === "published", id);
  }
  t.same(await known(), []);
  t.match(await publish(bob, [swollen]), { status: "published" }, "and is taken again");
});

t.test("a stalling file gives its place up, and is cleared when it comes through", { buffered: true }, async (t) => {
  const { env, known, hurry, ana, bob } = await surroundings(t, {
    TINTYPE_WORKER_CONCURRENCY: "1",
    TINTYPE_MEDIA_DECODE_TIMEOUT: "2m",
  });
  const worker = start(["worker"], env);
  t.teardown(() => worker.kill());
  const post = await ana.post([heavy]);
  const stalled = await stopDecoder(worker.pid);
  t.match(await publish(bob, [good]), { status: "published" }, "with one place, and that taken");
  t.ok(
    (await decodersOf(worker.pid)).some(({ pid }) => pid === stalled),
    "the other goes on",
  );
  t.same(await known(), []);
  process.kill(stalled, "SIGKILL");
  const [content] = await waitFor(async () => {
    const rows = await known();
    return rows.length > 0 && rows;
  }, "the crash to be counted");
  t.match(content, { sha256: heavyHash, crashes: 1, quarantined: false, reason: "DECODER_CRASHED: exit SIGKILL" });
  await hurry();
  t.equal((await processed(ana, post)).status, "published");
  t.same(await known(), [], "whatever it cost is no fault of its");
});

t.test("who takes two workers down gets no third", { buffered: true }, async (t) => {
  const { env, sql, known, hurry, ana, bob } = await surroundings(t, { TINTYPE_WORKER_CONCURRENCY: "2" });
  const killer = await ana.post([heavy]);
  const bystander = await bob.post([bomb(6990, 6990)]);
  /** With its decoders, which cannot end by themselves while they are stopped. */
  const kill = async (worker: Started) => {
    const decoders = await decodersOf(worker.pid);
    await worker.kill();
    for (const { pid } of decoders) process.kill(pid, "SIGKILL");
    // As if the ten seconds of its heartbeat had gone by.
    await sql.query(
      "UPDATE pgboss.job SET heartbeat_on = now() - interval '1 hour' WHERE name = 'media.process' AND state = 'active'",
    );
  };
  const victim = start(["worker"], env);
  t.teardown(() => victim.kill());
  await stopDecoder(victim.pid);
  await stopDecoder(victim.pid);
  await kill(victim);
  t.same(await known(), [], "nobody knows yet");
  const healer = start(["worker"], env);
  t.teardown(() => healer.kill());
  // Both are suspects, so only one of them is in hand when the next worker goes.
  const first = await stopDecoder(healer.pid, hurry);
  const children = await decodersOf(healer.pid);
  t.same(
    children.filter(({ files }) => files.length > 0).map(({ pid }) => pid),
    [first],
  );
  await kill(healer);
  const last = start(["worker"], env);
  t.teardown(() => last.kill());
  const outcomes = await Promise.all(
    (
      [
        [ana, killer],
        [bob, bystander],
      ] as const
    ).map(async ([author, id]) =>
      waitFor(async () => {
        await hurry();
        const { body } = await author.request("GET", `/posts/${id}`);
        return body.status !== "processing" && body;
      }, id),
    ),
  );
  t.same(outcomes.map(({ status }) => status).sort(), ["failed", "published"]);
  t.match(
    outcomes.find(({ status }) => status === "failed"),
    { failure: { code: "PICTURE_QUARANTINED" } },
  );
  const [content, ...others] = await known();
  t.same(others, []);
  t.match(content, { losses: 2, crashes: 0, quarantined: true, reason: "its worker was killed" });
  const guilty = outcomes[0]?.status === "failed" ? ana : bob;
  if (guilty === ana) await refused(t, bob, [heavy], 1);
});

/** Waits until a decoder of this process has opened an original, and stops it there. @returns its pid. */
async function stopDecoder(worker: number, meanwhile: () => Promise<unknown> = async () => undefined): Promise<number> {
  return waitFor(async () => {
    await meanwhile();
    for (const { pid, files } of await decodersOf(worker)) {
      if (files.length === 0 || (await isStopped(pid))) continue;
      process.kill(pid, "SIGSTOP");
      if ((await openFiles(pid)).length > 0) return pid;
      process.kill(pid, "SIGCONT");
    }
    return undefined;
  }, "a decoder to open its file");
}

async function isStopped(pid: number): Promise<boolean> {
  return /\) T /.test(await readFile(`/proc/${pid}/stat`, "utf8").catch(() => ""));
}
