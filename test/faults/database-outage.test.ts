import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import t, { type Test } from "tap";
import { testDatabase } from "../support/database.ts";
import { picture } from "../support/pictures.ts";
import { startProxy } from "../support/proxy.ts";
import { type Server, startServer, temporaryFolder, waitFor } from "../support/server.ts";

/** A server that reaches its database through a proxy. */
async function startBehindProxy(t: Test, settings: Record<string, string> = {}) {
  const { url } = await testDatabase(t);
  const proxy = await startProxy(t, url);
  const server = await startServer({
    TINTYPE_DATABASE_URL: proxy.url,
    TINTYPE_DATA_DIR: await temporaryFolder(t),
    TINTYPE_WORKER_EMBEDDED: "true",
    ...settings,
  });
  t.teardown(() => server.kill());
  return { proxy, server, url };
}

const readiness = (server: Server) => server.client.request("GET", "/readyz");

t.test("a database that is gone", async (t) => {
  const { proxy, server } = await startBehindProxy(t);
  const ana = await server.client.register("ana");
  await proxy.cut();
  const answer = await ana.request("GET", "/me");
  t.equal(answer.status, 503);
  t.match(answer.headers.get("retry-after"), /^\d+$/);
  t.match(answer.body, { error: { code: "UNAVAILABLE" } });
  t.match(await readiness(server), { status: 503, body: { dependencies: { postgres: { state: "down" } } } });
  t.equal((await server.client.request("GET", "/healthz")).status, 200, "the process itself is well");

  await proxy.open();
  await waitFor(async () => (await readiness(server)).status === 200, "readiness to return");
  t.equal((await ana.request("GET", "/me")).status, 200);
  const post = await ana.post([await picture()]);
  await waitFor(
    async () => (await ana.request("GET", `/posts/${post}`)).body.status === "published",
    "jobs to be taken again",
  );
});

t.test("a database that hangs", async (t) => {
  const settings = { TINTYPE_DATABASE_STATEMENT_TIMEOUT: "500ms", TINTYPE_SHUTDOWN_TIMEOUT: "1s" };
  const { proxy, server } = await startBehindProxy(t, settings);
  const ana = await server.client.register("ana");
  // As many as the pool has connections, and more: none may wait for ever.
  await Promise.all(Array.from({ length: 12 }, () => ana.request("GET", "/me")));
  proxy.hang();
  const signal = AbortSignal.timeout(60_000);
  const answers = await Promise.all(Array.from({ length: 24 }, () => ana.request("GET", "/me", { signal })));
  t.same(new Set(answers.map(({ status }) => status)), new Set([503]));
  t.equal((await readiness(server)).status, 503);
  t.equal((await server.client.request("GET", "/healthz")).status, 200);

  server.process.kill("SIGTERM");
  const code = await Promise.race([server.exited, delay(60_000, "never", { ref: false })]);
  t.equal(code, 1, "it ends, and says that it could not close everything");
});

t.test("what Postgres quotes in its errors is not logged", async (t) => {
  const { server, url } = await startBehindProxy(t);
  const ana = await server.client.register("ana");
  const post = await ana.post([await picture()]);
  await waitFor(async () => (await ana.request("GET", `/posts/${post}`)).body.status === "published", "the post");
  const sql = new pg.Client({ connectionString: url });
  await sql.connect();
  // A counter that is wrong makes the deletion break a CHECK, and Postgres quotes the row.
  await sql.query("UPDATE users SET post_count = 0");
  const refused = await ana.request("DELETE", `/posts/${post}`);
  await sql.end();
  t.equal(refused.status, 500);
  t.match(refused.body, { error: { code: "INTERNAL" } });
  await waitFor(async () => server.output().includes("users_post_count_check"), "the error to be logged");
  t.notMatch(server.output(), /ana@example\.org|argon2/);
  t.equal((await ana.request("GET", `/posts/${post}`)).status, 200, "nothing was deleted");
});
