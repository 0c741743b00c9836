import { readFile } from "node:fs/promises";
import { Agent, type IncomingMessage, request } from "node:http";
import { json } from "node:stream/consumers";
import pg from "pg";
import t, { type Test } from "tap";
import type { Json, SignedIn } from "../support/client.ts";
import { emptyDatabase, testDatabase } from "../support/database.ts";
import { picture } from "../support/pictures.ts";
import { run, type Started, start, startServer, temporaryFolder, waitFor } from "../support/server.ts";
import { openUpload } from "../support/upload.ts";

/** The log's lines of a process, one object each. */
function logOf(started: Started): Json[] {
  const lines = started.output().split("\n");
  return lines.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
}

function phasesOf(started: Started): string[] {
  const phases = logOf(started).filter((line) => line.msg === "shutdown phase done");
  for (const { ms } of phases) if (!(ms >= 0)) throw new Error("a phase without its time");
  return phases.map((line) => line.phase);
}

function untilStopping(started: Started): Promise<unknown> {
  return waitFor(async () => logOf(started).find((line) => line.msg === "stopping"), "the shutdown to begin");
}

async function surroundings(t: Test, extra: Record<string, string> = {}) {
  const { url } = await testDatabase(t);
  return { TINTYPE_DATABASE_URL: url, TINTYPE_DATA_DIR: await temporaryFolder(t), ...extra };
}

t.test("SIGTERM under load: all that was accepted is answered and done, then exit 0", async (t) => {
  const env = await surroundings(t, { TINTYPE_WORKER_EMBEDDED: "true" });
  const server = await startServer(env);
  t.teardown(() => server.kill());
  const accounts = await Promise.all(Array.from({ length: 6 }, (_, index) => server.client.register(`load${index}`)));
  const photo = await picture({ width: 1200, height: 900 });

  /** The server is told to stop at this time; Infinity while it is not. */
  let told = Number.POSITIVE_INFINITY;
  const accepted: string[] = [];
  const outcomes = { answered: 0, refused: 0, unreachable: 0 };
  const failures: string[] = [];
  const agent = new Agent({ keepAlive: true, maxSockets: 64 });
  t.teardown(() => agent.destroy());

  /** @returns whether the server is still there for this client. */
  const ask = async (account: SignedIn, method: string, path: string, form?: Form): Promise<boolean> => {
    const begun = performance.now();
    try {
      const { status, body } = await send(agent, `${server.url}/api/v1${path}`, account.token, method, form);
      if (status < 300) outcomes.answered++;
      else if (status === 503 && body.error.code === "SHUTTING_DOWN" && begun > told) outcomes.refused++;
      else failures.push(`${method} ${path}: ${status} ${JSON.stringify(body)}`);
      if (status === 202) accepted.push(body.post_id);
      return status < 300;
    } catch (error) {
      // A server that was told to stop may close a connection under a request that was sent afterwards.
      if (begun > told) outcomes.unreachable++;
      else failures.push(`${method} ${path}, ${Math.round(told - begun)} ms before the signal: ${error}`);
      return false;
    }
  };
  const form = multipart(photo);
  const readers = Array.from({ length: 24 }, async (_, index) => {
    const account = accounts[index % accounts.length] as SignedIn;
    const paths = ["/me", "/feed", "/users/load1", "/users/load0/posts"];
    for (let turn = index; await ask(account, "GET", String(paths[turn % paths.length])); turn++);
  });
  const writers = Array.from({ length: 6 }, async (_, index) => {
    const account = accounts[index] as SignedIn;
    while (await ask(account, "POST", "/posts", form));
  });
  const slow = await Promise.all(accounts.slice(0, 3).map(({ token }) => openUpload(server.url, token, photo)));
  await waitFor(async () => accepted.length >= 10 && outcomes.answered > 200, "the load");

  told = performance.now();
  server.process.kill("SIGTERM");
  await untilStopping(server);
  // Uploads that were under way go on for as long as they need.
  for (const upload of slow) await upload.send(200_000);
  await Promise.all([...readers, ...writers]);
  await t.rejects(fetch(`${server.url}/healthz`), { cause: { code: "ECONNREFUSED" } }, "no new connection is taken");
  for (const upload of slow) {
    await upload.send(200_000);
    const { status, body } = await upload.finish();
    t.equal(status, 202, "an upload that began before the signal is taken");
    accepted.push(body.post_id);
  }
  t.equal(await server.exited, 0);
  t.strictSame(failures, []);
  t.strictSame(phasesOf(server), ["answer what is in flight", "finish jobs", "close dependencies"]);

  const client = new pg.Client({ connectionString: env.TINTYPE_DATABASE_URL });
  await client.connect();
  t.teardown(() => client.end());
  const states = async () => (await client.query("SELECT id, status FROM posts")).rows;
  const held = await client.query("SELECT FROM pgboss.job WHERE state = 'active' AND name = 'media.process'");
  t.equal(held.rowCount, 0, "the stopped server holds no job");
  const left = (await states()).filter((row) => row.status === "processing").length;
  t.comment(`${JSON.stringify(outcomes)}, ${accepted.length} posts, ${left} of them left to another worker`);
  const worker = start(["worker"], env);
  t.teardown(() => worker.kill());
  await waitFor(async () => (await states()).every((row) => row.status !== "processing"), "the rest to be done");
  const published = new Set((await states()).filter((row) => row.status === "published").map((row) => row.id));
  t.strictSame(
    accepted.filter((id) => !published.has(id)),
    [],
    "every accepted post is published",
  );
  t.equal(await worker.stop(), 0);
  t.strictSame(phasesOf(worker), ["finish jobs", "close dependencies"]);
});

t.test("a second signal ends it at once", async (t) => {
  const env = await surroundings(t);
  for (const [signal, code] of [
    ["SIGTERM", 143],
    ["SIGINT", 130],
  ] as const) {
    const server = await startServer(env);
    t.teardown(() => server.kill());
    const { token } = await server.client.register(`second.${signal.toLowerCase()}`);
    const upload = await openUpload(server.url, token, await picture());
    server.process.kill(signal);
    await untilStopping(server);
    server.process.kill(signal);
    t.equal(await server.exited, code);
    await t.rejects(upload.answer, "the upload is cut off");
  }
});

t.test("Ctrl-C to an idle worker", async (t) => {
  const env = await surroundings(t, { TINTYPE_WORKER_PORT: "0", TINTYPE_SHUTDOWN_TIMEOUT: "5s" });
  const worker = start(["worker"], env);
  t.teardown(() => worker.kill());
  await waitFor(async () => worker.output().includes("taking jobs"), "the worker");
  worker.process.kill("SIGINT");
  t.equal(await worker.exited, 0);
  t.match(phasesOf(worker).join(), /finish jobs.*close dependencies$/);
});

t.test("three servers at once on an empty database", async (t) => {
  const { url } = await emptyDatabase(t);
  const sql = new pg.Client({ connectionString: url });
  await sql.connect();
  t.teardown(() => sql.end());
  const env = {
    TINTYPE_DATABASE_URL: url,
    TINTYPE_DATA_DIR: await temporaryFolder(t),
    TINTYPE_WORKER_EMBEDDED: "true",
  };
  const servers = await Promise.all([startServer(env), startServer(env), startServer(env)]);
  t.teardown(() => Promise.all(servers.map((server) => server.kill())));
  const accounts = await Promise.all(servers.map(({ client }, index) => client.register(`server${index}`)));
  for (const { client } of servers) {
    for (const { username } of accounts) {
      t.equal((await client.as(String(accounts[0]?.token)).request("GET", `/users/${username}`)).status, 200);
    }
  }
  const applied = await sql.query("SELECT version FROM schema_migrations");
  t.equal(new Set(applied.rows.map((row) => row.version)).size, applied.rowCount, "each migration once");
  const queues = await sql.query("SELECT name FROM pgboss.queue WHERE name = 'media.process'");
  t.equal(queues.rowCount, 1);
  t.strictSame(await Promise.all(servers.map((server) => server.stop())), [0, 0, 0]);

  await sql.query("DELETE FROM schema_migrations WHERE version = (SELECT max(version) FROM schema_migrations)");
  for (const command of ["serve", "worker"]) {
    const { code, stdout, stderr } = await run([command], { ...env, TINTYPE_PORT: "0" });
    t.equal(code, 3, `${command} refuses a schema that lacks a migration`);
    t.match(`${stdout}${stderr}`, /lacks 1 of \d+ migrations.*tintype migrate/s);
  }
});

t.test("a port that is taken is exit 3, with what to do", async (t) => {
  const env = await surroundings(t);
  const server = await startServer(env);
  t.teardown(() => server.stop());
  const { code, stdout, stderr } = await run(["serve", "--port", new URL(server.url).port], env);
  t.equal(code, 3);
  t.match(`${stdout}${stderr}`, /port \d+ on 127\.0\.0\.1 is taken.*--port/s);
  t.equal((await server.client.request("GET", "/healthz")).status, 200);
});

t.test("memory does not grow with an upload", async (t) => {
  const peakAfter = async (megabytes: number) => {
    const env = await surroundings(t, { TINTYPE_MEDIA_MAX_PHOTO: "200mb", TINTYPE_WORKER_EMBEDDED: "false" });
    const server = await startServer(env);
    t.teardown(() => server.kill());
    const { token } = await server.client.register("heavy");
    const upload = await openUpload(server.url, token, await picture());
    await upload.send(megabytes * 1024 * 1024);
    t.equal((await upload.finish()).status, 202);
    const peak = Number(/^VmHWM:\s+(\d+) kB$/m.exec(await readFile(`/proc/${server.pid}/status`, "utf8"))?.[1]) / 1024;
    t.equal(await server.stop(), 0);
    return peak;
  };
  const [small, large] = [await peakAfter(5), await peakAfter(100)];
  t.comment(`peak RSS ${small.toFixed(1)} MiB for 5 MiB, ${large.toFixed(1)} MiB for 100 MiB`);
  t.ok(large - small <= 32, `${(large - small).toFixed(1)} MiB more`);
});

/** One request on a connection that is kept; fetch would send some of them a second time. */
function send(agent: Agent, url: string, token: string, method: string, form?: Form) {
  return new Promise<{ status: number; body: Json }>((resolve, reject) => {
    const headers = {
      authorization: `Bearer ${token}`,
      ...(form ? { "content-type": form.type, "content-length": form.body.length } : {}),
    };
    const sent = request(url, { agent, method, headers });
    sent.on("error", reject);
    sent.on("response", (response: IncomingMessage) => {
      json(response).then((body) => resolve({ status: Number(response.statusCode), body }), reject);
    });
    sent.end(form?.body);
  });
}

interface Form {
  type: string;
  body: Buffer;
}

/** A post of one picture, ready to be sent many times. */
function multipart(file: Buffer): Form {
  const boundary = "a-boundary-of-the-tests";
  const head = `--${boundary}\r\ncontent-disposition: form-data; name="media"; filename="photo.jpg"\r\n\r\n`;
  return {
    type: `multipart/form-data; boundary=${boundary}`,
    body: Buffer.concat([Buffer.from(head), file, Buffer.from(`\r\n--${boundary}--\r\n`)]),
  };
}
