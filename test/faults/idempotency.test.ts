import t from "tap";
import { brake } from "../support/backup.ts";
import { createClient } from "../support/client.ts";
import { isReplay, keyedPosts, sendPost, untilAnswered } from "../support/keyed-posts.ts";
import { commitLosingWay } from "../support/lost-commit.ts";
import { startProxy } from "../support/proxy.ts";
import { waitFor } from "../support/server.ts";

// Most of their time goes by until a lease ends, so they wait for it together.
t.jobs = 3;

t.test("kill -9 between commit and answer: any server gives the answer at once", { buffered: true }, async (t) => {
  const { url, open, posts } = await keyedPosts(t);
  const [victim, other] = await Promise.all([open(), open()]);
  const ana = await victim.client.register("ana");
  const way = await startProxy(t, victim.url);
  const held = await brake(t, url, "posts");
  const unanswered = sendPost(createClient(new URL(way.url).origin, ana.token), "unheard").catch(() => null);
  await waitFor(() => held.waiting(), "the work to have begun");
  way.hang();
  await held.release();
  const [post] = await waitFor(async () => (await posts("unheard")).length > 0 && posts("unheard"), "the commit");
  await victim.kill();
  await way.cut();
  t.equal(await unanswered, null, "the client has heard nothing");
  const answer = await sendPost(other.client.as(ana.token), "unheard");
  t.strictSame([answer.status, isReplay(answer), answer.body], [202, true, { post_id: post, status: "processing" }]);
  t.equal((await posts("unheard")).length, 1);
});

t.test("kill -9 before the commit: the key is free again by itself", { buffered: true }, async (t) => {
  const { url, open, posts } = await keyedPosts(t);
  const [victim, other] = await Promise.all([open(), open()]);
  const ana = await victim.client.register("ana");
  const held = await brake(t, url, "posts");
  const unanswered = sendPost(victim.client.as(ana.token), "killed").catch(() => null);
  await waitFor(() => held.waiting(), "the work to have begun");
  await victim.kill();
  await held.release();
  t.equal(await unanswered, null);
  t.equal((await sendPost(other.client.as(ana.token), "killed")).status, 409, "for a lease's time");
  const answer = await untilAnswered(() => other.client.as(ana.token), "killed");
  t.strictSame([answer.status, isReplay(answer)], [202, false]);
  t.strictSame(await posts("killed"), [answer.body.post_id]);
});

t.test("a server that is stopped for longer than its lease does no work twice", { buffered: true }, async (t) => {
  const { url, sql, open, posts } = await keyedPosts(t);
  const [stopped, other] = await Promise.all([open(), open()]);
  const ana = await stopped.client.register("ana");
  const held = await brake(t, url, "posts");
  const late = sendPost(stopped.client.as(ana.token), "stopped");
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

t.test("a commit whose answer is lost", { buffered: true }, async (t) => {
  const { url, open, posts } = await keyedPosts(t);
  const way = await commitLosingWay(t, url);
  const server = await open({ TINTYPE_DATABASE_URL: way.url });
  const ana = await server.client.register("ana");
  way.arm();
  const first = await sendPost(ana, "lost");
  t.strictSame([first.status, way.lost()], [503, 1]);
  const answer = await untilAnswered(() => ana, "lost");
  t.strictSame([answer.status, isReplay(answer)], [202, true]);
  t.strictSame(await posts("lost"), [answer.body.post_id]);
});

t.test("a database that goes away in the middle of the work", { buffered: true }, async (t) => {
  const { url, open, posts } = await keyedPosts(t);
  const way = await startProxy(t, url);
  const server = await open({ TINTYPE_DATABASE_URL: way.url });
  const ana = await server.client.register("ana");
  const held = await brake(t, url, "posts");
  const first = sendPost(ana, "outage");
  await waitFor(() => held.waiting(), "the work to have begun");
  await way.cut();
  t.equal((await first).status, 503);
  t.equal(
    (await sendPost(ana, "outage")).status,
    503,
    "without it no key can be looked at, and nothing is done without",
  );
  await held.release();
  await way.open();
  const answer = await untilAnswered(() => ana, "outage");
  t.strictSame([answer.status, isReplay(answer)], [202, false]);
  t.strictSame(await posts("outage"), [answer.body.post_id]);
});
