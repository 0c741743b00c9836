import { setTimeout as delay } from "node:timers/promises";
import t from "tap";
import { keyedPosts, sendPost, untilAnswered } from "../support/keyed-posts.ts";
import type { Server } from "../support/server.ts";

t.test("three servers, killed at random, and clients that try again: one post a key", async (t) => {
  const { open, posts, sql } = await keyedPosts(t);
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
      const impatient = [sendPost(anyClient(), key), delay(Math.random() * 30).then(() => sendPost(anyClient(), key))];
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
  for (let kill = 0; kill < 6; kill++) {
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
