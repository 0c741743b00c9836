/** What ends an export before its time, and what one leaves of the disk. */
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { constants, open, readdir, rm, statfs } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import {
  ask,
  askAnew,
  fetchFiles,
  filesBelow,
  originalOf,
  type Place,
  pipeInPlaceOf,
  place,
  settled,
} from "../support/exports.ts";
import { picture } from "../support/pictures.ts";
import { run, waitFor } from "../support/server.ts";
import { publish } from "../support/service.ts";

t.jobs = 3;

const NONE = { status: "none", url: null, expires_at: null };
const statusOf = async (url: string) => {
  const answer = await fetch(url);
  await answer.body?.cancel();
  return answer.status;
};
const archives = ({ dataDir }: Place) => filesBelow(join(dataDir, "media", "exports"));

t.test("a new password ends its URL", { buffered: true }, async (t) => {
  const { client, env, server } = await place(t);
  const [ana, bert] = [await client.register("ana"), await client.register("bert")];
  for (const person of [ana, bert]) await ask(person);
  const [stolen, other] = [await settled(ana), await settled(bert)];
  const { status } = await ana.request("POST", "/me/password", {
    json: { current_password: ana.password, new_password: "another password" },
  });
  t.equal(status, 204);
  t.equal(await statusOf(stolen.url), 404);
  const renewed = await settled(ana);
  t.match(renewed, { status: "ready", expires_at: stolen.expires_at });
  t.ok((await fetchFiles(renewed.url)).has("README.txt"), "its owner still has it");
  t.equal(await statusOf(other.url), 200, "that of another stays");

  const { stdout } = await run(["users", "reset-password", "bert", "--json"], env);
  const token = new URL(JSON.parse(stdout).url).searchParams.get("token");
  const reset = await client.request("POST", "/auth/password/reset/confirm", {
    json: { token, new_password: "another password" },
  });
  t.equal(reset.status, 204);
  t.equal(await statusOf(other.url), 404);
  for (const { url } of [stolen, renewed]) t.notMatch(server.output(), new RegExp(url.split("/").at(-1)), "not logged");
});

t.test("it is withdrawn, also while it is made", { buffered: true }, async (t) => {
  const here = await place(t);
  const { client, sql, dataDir } = here;
  const ana = await client.register("ana");
  const withdraw = () => ana.request("DELETE", "/me/export");
  const rows = async () => (await sql.query("SELECT FROM exports")).rowCount;
  t.equal((await withdraw()).status, 204, "also where there is none");
  t.equal((await client.request("DELETE", "/me/export")).status, 401);

  await ask(ana);
  const { url } = await settled(ana);
  t.equal((await archives(here)).length, 1);
  for (let time = 0; time < 2; time++) {
    t.equal((await withdraw()).status, 204);
    t.equal(await statusOf(url), 404, "at once");
    t.strictSame((await ana.request("GET", "/me/export")).body, NONE);
  }
  await waitFor(async () => (await rows()) === 0 && (await archives(here)).length === 0, "row and archive to go");

  const photo = await picture();
  const post = await publish(ana, [photo]);
  const path = await originalOf(here, post.id);
  const pipe = await pipeInPlaceOf(path);
  await ask(ana);
  const writing = await open(path, "w");
  t.equal((await ana.request("GET", "/me/export")).body.status, "processing");
  t.equal((await withdraw()).status, 204);
  t.strictSame((await ana.request("GET", "/me/export")).body, NONE);
  // It may have noticed already, and reads no more.
  await writing.write(photo).catch(() => undefined);
  await writing.close();
  await waitFor(async () => {
    const { rows: jobs } = await sql.query("SELECT state FROM pgboss.job WHERE name = 'exports.make'");
    return jobs.every(({ state }) => state === "completed");
  }, "its maker to end");
  await pipe.restore();
  t.strictSame(await archives(here), [], "it was given up");
  t.strictSame(await filesBelow(join(dataDir, "staging")), []);
  await ask(ana);
  t.equal(await statusOf((await settled(ana)).url), 200, "a new one can be made");
});

t.test("nothing is promised that is not there", { buffered: true }, async (t) => {
  const here = await place(t);
  const ana = await here.client.register("ana");
  await ask(ana);
  const { url } = await settled(ana);
  // As after a backup was restored, which has the rows alone.
  await rm(join(here.dataDir, "media", "exports"), { recursive: true });
  t.strictSame((await ana.request("GET", "/me/export")).body, NONE);
  for (const headers of [{}, { range: "bytes=0-0" }, { range: "bytes=99999999-" }]) {
    t.equal((await fetch(url, { headers })).status, 404, JSON.stringify(headers));
  }
  await ask(ana);
  t.equal((await settled(ana)).status, "ready");
});

t.test("it leaves a part of the disk free", { buffered: true }, async (t) => {
  const here = await place(t);
  const { client, dataDir, server } = here;
  const ana = await client.register("ana");
  const post = await publish(ana, [await picture()]);
  const staging = join(dataDir, "staging");
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=1000m", "tmpfs", staging], { stdio: "pipe" });
  } catch {
    return t.pass("a small disk", { skip: "no file system can be mounted here" });
  }
  t.teardown(() => execFileSync("umount", ["-l", staging]));
  await ask(ana);
  await waitFor(async () => server.output().includes("the job is put back and waits"), "the job to wait");
  t.equal((await ana.request("GET", "/me/export")).body.status, "processing", "less than 1 GiB: it is not begun");
  t.strictSame(await readdir(staging), []);
  execFileSync("mount", ["-o", "remount,size=1050m", staging]);
  t.equal((await settled(ana)).status, "ready", "it was waited for");

  // 26 MiB above the reserve, and an archive that knows no end.
  const path = await originalOf(here, post.id);
  const pipe = await pipeInPlaceOf(path);
  await askAnew(ana);
  const chunk = randomBytes(1024 * 1024);
  let least = Number.POSITIVE_INFINITY;
  const state = await waitFor(async () => {
    const { body } = await ana.request("GET", "/me/export");
    if (body.status !== "processing") return body;
    // Not to wait for a reader: a try that has given up has none any more.
    const writing = await open(path, constants.O_WRONLY | constants.O_NONBLOCK);
    for (let broken = false; !broken; ) {
      broken = await writing.write(chunk).then(
        () => false,
        (error) => error.code !== "EAGAIN",
      );
      const { bavail, bsize } = await statfs(staging);
      least = Math.min(least, bavail * bsize);
    }
    await writing.close();
  }, "it to be given up");
  t.strictSame(state, { ...NONE, status: "failed" });
  t.ok(least > 900 * 1024 ** 2, `${least} bytes were left free`);
  await pipe.restore();
  t.strictSame(await readdir(staging), []);
});
