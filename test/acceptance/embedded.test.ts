import { chmod, chown, mkdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { Json } from "../support/client.ts";
import { picture } from "../support/pictures.ts";
import { run, type Server, startServer, temporaryFolder, waitFor } from "../support/server.ts";

const NOBODY = 65534;
const needsRoot = process.getuid?.() === 0 ? {} : { skip: "needs root" };

/** A data dir that does not exist yet, where whoever runs Postgres can get to. What is left of Postgres is stopped. */
async function dataDirectory(t: Test): Promise<string> {
  const folder = await temporaryFolder(t);
  await chmod(folder, 0o755);
  const data = join(folder, "data");
  t.teardown(async () => {
    const pid = await postgresOf(data);
    if (pid !== null) process.kill(pid, "SIGQUIT");
    await waitFor(async () => (await postgresOf(data)) === null, "Postgres to be gone");
  });
  return data;
}

/** The process id of the Postgres that runs on a data dir; null when none does. */
async function postgresOf(data: string): Promise<number | null> {
  const file = await readFile(join(data, "postgres", "data", "postmaster.pid"), "utf8").catch(() => "");
  const pid = Number(file.split("\n", 1)[0]);
  const isRunning = pid > 0 && (await readFile(`/proc/${pid}/comm`, "utf8").catch(() => "")) === "postgres\n";
  return isRunning ? pid : null;
}

/** Starts a server that is gone when the test is over, however that goes. */
async function serve(t: Test, ...how: Parameters<typeof startServer>): Promise<Server> {
  const server = await startServer(...how);
  t.teardown(() => server.kill());
  return server;
}

async function tintype(line: string, env: Record<string, string>, expected = 0): Promise<Json> {
  const { code, stdout, stderr } = await run([...line.split(" "), "--json"], env);
  if (code !== expected) throw new Error(`tintype ${line} ended with ${code}, not ${expected}:\n${stdout}${stderr}`);
  return JSON.parse(stdout);
}

/** Publishes a picture and gives the address of a rendition. */
async function publish(server: Server, token: string): Promise<string> {
  const client = server.client.as(token);
  const form = new FormData();
  form.append("media", new Blob([Uint8Array.from(await picture({ width: 64, height: 64 }))]), "photo.jpg");
  const { status, body } = await client.request("POST", "/posts", { form });
  if (status !== 202) throw new Error(`POST /posts: ${status}`);
  const post = await waitFor(async () => {
    const answer = await client.request("GET", `/posts/${body.post_id}`);
    return answer.body.status === "published" && answer.body;
  }, "the post to be published");
  return new URL(post.media[0].large_url).pathname;
}

t.test("one command runs the whole service; a data dir has one serve", async (t) => {
  const data = await dataDirectory(t);
  const env = { TINTYPE_DATA_DIR: data };
  const server = await serve(t, env);
  const ana = await server.client.register("ana");
  const rendition = await publish(server, ana.token);
  t.equal((await server.client.request("GET", rendition)).status, 200);
  t.match(server.output(), /"msg":"embedded Postgres started"/);
  const postgres = await postgresOf(data);
  t.ok(postgres);
  t.equal((await stat(join(data, "media"))).mode & 0o077, 0, "media are nobody else's to read");

  const second = await run(["serve", "--port", "0"], env);
  t.equal(second.code, 3, "a second serve refuses");
  t.match(`${second.stdout}${second.stderr}`, data);
  t.equal((await ana.request("GET", "/feed")).status, 200, "and the first goes on");

  t.strictSame(
    (await tintype("users list", env)).users.map((user: Json) => user.username),
    ["ana"],
    "a command beside it finds the server",
  );
  t.ok((await tintype("doctor", env)).ok);
  t.equal((await tintype("migrate", env)).applied.length, 0);
  t.equal(await postgresOf(data), postgres, "and leaves it alone");

  t.equal(await server.stop(), 0);
  t.equal(await postgresOf(data), null, "the last one out stops Postgres");
  t.strictSame((await tintype("users list", env)).users.length, 1, "alone, a command starts it");
  t.equal(await postgresOf(data), null, "and stops it");
  const [one, other] = await Promise.all([tintype("jobs status", env), tintype("users show ana", env)]);
  t.ok(one.queues.length > 0 && other.username === "ana", "two commands at once share it");
  t.equal(await postgresOf(data), null);
});

t.test("kill -9 of serve: the next one adopts Postgres, and all data are there", async (t) => {
  const data = await dataDirectory(t);
  const env = { TINTYPE_DATA_DIR: data };
  const first = await serve(t, env);
  const { token } = await first.client.register("ana");
  const rendition = await publish(first, token);
  const before = (await first.client.as(token).request("GET", "/feed")).body.items;
  const postgres = await postgresOf(data);
  await first.kill();
  t.equal(await postgresOf(data), postgres, "Postgres outlives it");

  const next = await serve(t, env);
  t.equal(await postgresOf(data), postgres);
  t.match(next.output(), /"msg":"embedded Postgres found running"/);
  const after = (await next.client.as(token).request("GET", "/feed")).body.items;
  t.strictSame(withoutPorts(after), withoutPorts(before));
  t.equal((await next.client.request("GET", rendition)).status, 200);
  await publish(next, token);

  process.kill(Number(postgres), "SIGQUIT");
  t.equal(await next.exited, 1, "a serve whose Postgres is killed ends");
  t.match(next.output(), /the embedded Postgres is gone/);
  const last = await serve(t, env);
  t.equal((await last.client.as(token).request("GET", "/me")).body.post_count, 2, "and loses nothing by it");
  t.equal(await last.stop(), 0);
});

t.test("as a plain user", needsRoot, async (t) => {
  const data = await dataDirectory(t);
  await mkdir(data);
  await chown(data, NOBODY, NOBODY);
  const server = await serve(t, { TINTYPE_DATA_DIR: data, HOME: data }, { uid: NOBODY, cwd: "/" });
  const { token } = await server.client.register("ana");
  await publish(server, token);
  t.equal((await stat(join(data, "media"))).uid, NOBODY);
  const beside = await run(
    ["users", "list", "--json"],
    { TINTYPE_DATA_DIR: data, HOME: data },
    { uid: NOBODY, cwd: "/" },
  );
  t.equal(beside.code, 0);
  t.equal(await server.stop(), 0);
  t.equal(await postgresOf(data), null);
});

t.test("as root, where Postgres' own account cannot get in: exit 3, with the mend", needsRoot, async (t) => {
  const closed = await temporaryFolder(t);
  const { code, stdout, stderr } = await run(["serve", "--port", "0"], { TINTYPE_DATA_DIR: join(closed, "data") });
  t.equal(code, 3);
  t.match(`${stdout}${stderr}`, `chmod o+x ${closed}`);
  await chmod(closed, 0o711);
  const server = await serve(t, { TINTYPE_DATA_DIR: join(closed, "data") });
  t.equal(await server.stop(), 0, "what it says helps");
});

/** Each server has a port of its own, which the URLs name. */
function withoutPorts(items: Json): string {
  return JSON.stringify(items).replaceAll(/127\.0\.0\.1:\d+/g, "");
}
