/** Feeds when Redis hangs, dies, forgets, or remembers what was; and how often a timeline is built. */
import t from "tap";
import { AUTHORS, idsOf, publishBy, rebuildsOf, SERVERS, startScene } from "../support/feed-model/scene.ts";
import { waitFor } from "../support/server.ts";

t.setTimeout(600_000);

t.test("Redis hangs: feeds come from Postgres, and what changes meanwhile holds", async (t) => {
  const scene = await startScene(t);
  if (!scene) return;
  const { world, service, read, change } = scene;
  service.pause();
  t.teardown(() => service.resume());
  for (const server of SERVERS) t.equal((await read(server)).body.degraded, true, "the first one, who finds out");
  await scene.assertRight(t, "while it hangs");
  const crowd = await Promise.all(Array.from({ length: 60 }, (_, n) => read(n % 3)));
  t.same(new Set(crowd.map(({ status, body }) => `${status} ${body.degraded}`)), new Set(["200 true"]));

  await change(0, "unfollow", "ben");
  await scene.assertRight(t, "unfollowed");
  await change(1, "block", "cleo");
  await scene.assertRight(t, "blocked");
  await change(1, "follow", "eva");
  await scene.assertRight(t, "followed");
  await scene.deletePost(2, "dan");
  await scene.assertRight(t, "deleted");
  const { id } = await publishBy(world, "dan");
  await scene.assertRight(t, "published");

  service.resume();
  await scene.assertRight(t, "the very next read after it resumed");
  await scene.assertRecovered(t, "after it resumed");
  await world.jobsDone();
  await scene.assertRecovered(t, "after the jobs are done");
  t.ok(idsOf((await read(1)).body).includes(id));
});

t.test("changes of the moment at which Redis stops, and at which it goes on", async (t) => {
  const scene = await startScene(t);
  if (!scene) return;
  const { service, change } = scene;
  for (let round = 0; round < 4; round++) {
    const wasFollowed = round % 2 === 0;
    const changing = change(round % 3, wasFollowed ? "unfollow" : "follow", "ben");
    service.pause();
    await changing;
    await scene.assertRight(t, `stopped, round ${round}`);
    const muting = change(round % 3, wasFollowed ? "mute" : "unmute", "cleo");
    service.resume();
    await muting;
    await scene.assertRight(t, `goes on, round ${round}`);
    await scene.assertRecovered(t, `recovered, round ${round}`);
  }
});

t.test("Redis is killed and comes back with what it had, with nothing, with what was long ago", async (t) => {
  const scene = await startScene(t);
  if (!scene) return;
  const { service, redis, change } = scene;
  await service.kill();
  await scene.assertRight(t, "killed");
  await change(0, "unfollow", "ben");
  await scene.assertRight(t, "unfollowed meanwhile");
  await service.restart();
  await scene.assertRight(t, "restarted with its log");
  await scene.assertRecovered(t, "after that");

  await redis.config("SET", "appendonly", "no");
  await redis.config("REWRITE");
  await change(0, "follow", "ben");
  await scene.assertRecovered(t, "all is in Redis");
  await redis.save();
  await change(1, "unfollow", "ben");
  await change(2, "block", "cleo");
  await scene.deletePost(0, "dan");
  await scene.assertRecovered(t, "and is another now");
  await service.kill();
  await service.restart();
  t.ok((await redis.keys(`${service.prefix}timeline:*`)).length > 0, "the old timelines are back");
  await scene.assertRight(t, "the old snapshot tells nobody anything");
  await scene.assertRecovered(t, "with the old snapshot");

  await redis.flushall();
  await redis.save();
  await service.kill();
  await service.restart();
  await scene.assertRight(t, "empty");
  await scene.assertRecovered(t, "after it was empty");
});

t.test("FLUSHALL while many read", async (t) => {
  const scene = await startScene(t);
  if (!scene) return;
  const { world, redis, read } = scene;
  const viewers = ["ana", ...AUTHORS, "eva"];
  const expected = new Map(
    viewers.map((viewer) => [
      viewer,
      world.model
        .feedOf(viewer)
        .map(({ id }) => id)
        .slice(0, 100),
    ]),
  );
  let reading = true;
  let pages = 0;
  const clients = Array.from({ length: 30 }, async (_, n) => {
    const viewer = viewers[n % viewers.length] as string;
    while (reading) {
      const { status, headers, body, bytes } = await read(n % 3, viewer);
      pages++;
      if (status === 503 && headers.has("retry-after")) continue;
      if (status !== 200) throw new Error(`${status} ${bytes}`);
      if (String(idsOf(body)) !== String(expected.get(viewer))) throw new Error(`${viewer} reads ${idsOf(body)}`);
    }
  });
  const flushing = (async () => {
    for (let flush = 0; flush < 8; flush++) {
      const until = pages + 100;
      await waitFor(async () => pages > until, "them to read");
      await redis.flushall();
    }
    reading = false;
  })();
  await Promise.all([...clients, flushing]);
  await scene.assertRecovered(t, `after ${pages} pages`);
});

t.test("somebody returns: built once, however many requests come at once", async (t) => {
  const scene = await startScene(t);
  if (!scene) return;
  const { world, redis, read } = scene;
  for (let round = 0; round < 5; round++) {
    await redis.flushall();
    const before = await rebuildsOf(world);
    const answers = await Promise.all(Array.from({ length: 40 }, (_, n) => read(n % 3)));
    t.equal((await rebuildsOf(world)) - before, 1);
    t.same(new Set(answers.map(({ status, bytes }) => `${status} ${bytes}`)).size, 1, "all the same");
    t.same([answers[0]?.status, answers[0]?.body.degraded], [200, false]);
    t.same(
      idsOf(answers[0]?.body),
      world.model
        .feedOf("ana")
        .map(({ id }) => id)
        .slice(0, 100),
    );
  }
});
