import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import t, { type Test } from "tap";
import { brake } from "../support/backup.ts";
import { type Answer, type Client, createClient, postForm } from "../support/client.ts";
import { testDatabase } from "../support/database.ts";
import { commitLosingWay } from "../support/lost-commit.ts";
import { picture } from "../support/pictures.ts";
import { startProxy } from "../support/proxy.ts";
import { type Server, startServer, temporaryFolder, waitFor } from "../support/server.ts";

const photo = await picture({ width: 64, height: 64 });

/** A database and a data dir for several servers, and what they made of each key: a post has its key as its caption. */
async function surroundings(t: Test) {
  const { url } = await testDatabase(t);
  const sql = new pg.Pool({ connectionString: url, max: 3 });
  t.teardown(() => sql.end());
  const env = {
    TINTYPE_DATABASE_URL: url,
    TINTYPE_DATA_DIR: await temporaryFolder(t),
    TINTYPE_WORKER_EMBEDDED: "false",
  };
  const open = async (settings: Record<string, string> = {}) => {
    const server = await startServer({ ...env, ...settings });
    t.teardown(() => server.kill());
    return server;
  };
  const posts = async (key: string) =>
    (await sql.query("SELECT id FROM posts WHERE caption = $1", [key])).rows.map(({ id }) => String(id));
  return { url, sql, open, posts };
}

const send = (client: Client, key: string, signal?: AbortSignal) =>
  client.request("POST", "/posts", {
    form: postForm([photo], key),
    headers: { "idempotency-key": key },
    ...(signal ? { signal } : {}),
  });
const isReplay = ({ headers }: Answer) => headers.get("idempotent-replayed") === "true";

/** Sends until there is an answer that says how it ended, as a client would. */
function untilAnswered(clientOf: () => Client, key: string): Promise<Answer> {
  return waitFor(async () => {
    const answer = await send(clientOf(), key, AbortSignal.timeout(20_000)).catch(() => null);
    return answer !== null && answer.status !== 409 && answer.status < 500 && answer;
  }, `an answer for ${key}`);
}

t.test("kill -9 between commit and answer: any server gives the answer at once", async (t) => {
  const { url, open, posts } = await surroundings(t);
  const [victim, other] = await Promise.all([open(), open()]);
  const ana = await victim.client.register("ana");
  const way = await startProxy(t, victim.url);
  const held = await brake(t, url, "posts");
  const unanswered = send(createClient(new URL(way.url).origin, ana.token), "unheard").catch(() => null);
  await waitFor(() => held.waiting(), "the work to have begun");
  way.hang();
  await held.release();
  const [post] = await waitFor(async () => (await posts("unheard")).length > 0 && posts("unheard"), "the commit");
  await victim.kill();
  await way.cut();
  t.equal(await unanswered, null, "the client has heard nothing");
  const answer = await send(other.client.as(ana.token), "unheard");
  t.strictSame([answer.status, isReplay(answer), answer.body], [202, true, { post_id: post, status: "processing" }]);
  t.equal((await posts("unheard")).length, 1);
});

t.test("kill -9 before the commit: the key is free again by itself", async (t) => {
  const { url, open, posts } = await surroundings(t);
  const [victim, other] = await Promise.all([open(), open()]);
  const ana = await victim.client.register("ana");
  const held = await brake(t, url, "posts");
  const unanswered = send(victim.client.as(ana.token), "killed").catch(() => null);
  await waitFor(() => held.waiting(), "the work to have begun");
  await victim.kill();
  await held.release();
  t.equal(await unanswered, null);
  t.equal((await send(other.client.as(ana.token), "killed")).status, 409, "for a lease's time");
  const answer = await untilAnswered(() => other.client.as(ana.token), "killed");
  t.strictSame([answer.status, isReplay(answer)], [202, false]);
  t.strictSame(await posts("killed"), [answer.body.post_id]);
});

t.test("a server that is stopped for longer than its lease does no work twice", async (t) => {
  const { url, sql, open, posts } = await surroundings(t);
  const [stopped, other] = await Promise.all([open(), open()]);
  const ana = await stopped.client.register("ana");
  const held = await brake(t, url, "posts");
  const late = send(stopped.client.as(ana.token), "stopped");
  await waitFor(() => held.waiting(), "the work to have begun");
  stopped.process.kill("SIGSTOP");
  await held.release();
  const answer = await untilAnswered(() => other.client.as(ana.token), "stopped");
  t.strictSame([answer.status, isReplay(answer)], [202, false], "another server has taken the key over");
  stopped.process.kill("SIGCONT");
  const refused = await late;
  t.ok(refused.status === 409 || refused.status === 503, `its own work came to nothing: ${refused.status}`);
  t.strictSame(await posts("stopped"), [answer.body.post_id]);
  t.strictSame((await untilAnswered(() => stopped.client.as(ana.token), "stopped")).bytes, answer.bytes);
  const { rows } = await sql.query("SELECT count(*)::int AS n FROM media");
  t.strictSame(rows, [{ n: 1 }]);
});

t.test("a commit whose answer is lost", async (t) => {
  const { url, open, posts } = await surroundings(t);
  const way = await commitLosingWay(t, url);
  const server = await open({ TINTYPE_DATABASE_URL: way.url });
  const ana = await server.client.register("ana");
  way.arm();
  const first = await send(ana, "lost");
  t.strictSame([first.status, way.lost()], [503, 1]);
  const answer = await untilAnswered(() => ana, "lost");
  t.strictSame([answer.status, isReplay(answer)], [202, true]);
  t.strictSame(await posts("lost"), [answer.body.post_id]);
});

t.test("a database that goes away in the middle of the work", async (t) => {
  const { url, open, posts } = await surroundings(t);
  const way = await startProxy(t, url);
  const server = await open({ TINTYPE_DATABASE_URL: way.url });
  const ana = await server.client.register("ana");
  const held = await brake(t, url, "posts");
  const first = send(ana, "outage");
  await waitFor(() => held.waiting(), "the work to have begun");
  await way.cut();
  t.equal((await first).status, 503);
  t.equal((await send(ana, "outage")).status, 503, "without it no key can be looked at, and nothing is done without");
  await held.release();
  await way.open();
  const answer = await untilAnswered(() => ana, "outage");
  t.strictSame([answer.status, isReplay(answer)], [202, false]);
  t.strictSame(await posts("outage"), [answer.body.post_id]);
});

t.test("three servers, killed at random, and clients that try again: one post a key", async (t) => {
  const { open, posts, sql } = await surroundings(t);
  const servers: Server[] = await Promise.all([open(), open(), open()]);
  const ana = await (servers[0] as Server).client.register("ana");
  const anyClient = () => (servers[Math.floor(Math.random() * servers.length)] as Server).client.as(ana.token);
  const seen = new Map<string, Set<string>>();
  let goingOn = true;
  let sent = 0;
  const clients = Array.from({ length: 4 }, async (_, client) => {
    for (let n = 0; goingOn; n++) {
      const key = `client-${client}-post-${n}`;
      seen.set(key, new Set());
      // One try, and another at about the same time elsewhere; then until there is an answer, and once more.
      const impatient = [send(anyClient(), key), delay(Math.random() * 30).then(() => send(anyClient(), key))];
      const tries = await Promise.all(impatient.map((one) => one.catch(() => null)));
      const answers = [...tries, await untilAnswered(anyClient, key), await untilAnswered(anyClient, key)];
      for (const answer of answers) {
        if (answer?.status === 202) seen.get(key)?.add(answer.body.post_id);
        else if (answer) t.ok(answer.status === 409 || answer.status === 503, `${answer.status} ${answer.bytes}`);
      }
      sent++;
    }
  });
  let cutOff = 0;
  for (let kill = 0; kill < 12; kill++) {
    await delay(300 + Math.random() * 1_200);
    const victim = Math.floor(Math.random() * servers.length);
    await (servers[victim] as Server).kill();
    const { rows } = await sql.query("SELECT count(*)::int AS n FROM idempotency_keys WHERE status IS NULL");
    cutOff += rows[0].n;
    servers[victim] = await open();
  }
  goingOn = false;
  await Promise.all(clients);
  t.ok(cutOff > 0, `${sent} posts, ${cutOff} keys without an answer when a server was killed`);
  for (const [key, ids] of seen) t.strictSame(await posts(key), [...ids], key);
});
