/** Feeds when Redis hangs, dies, forgets, or remembers what was; and what happens just while a timeline is built. */
import { Redis } from "ioredis";
import type pg from "pg";
import t, { type Test } from "tap";
import type { Answer, Json } from "../support/client.ts";
import { startWorld, type World } from "../support/feed-model/world.ts";
import { waitFor } from "../support/server.ts";
import { type Own, type RedisService, redisService } from "../support/services.ts";

t.setTimeout(600_000);

const SERVERS = [0, 1, 2];
const AUTHORS = ["ben", "cleo", "dan"];

interface Scene {
  world: World;
  service: RedisService & Own;
  redis: Redis;
  /** The first page; it gives up long after anybody would have. */
  read(server: number, viewer?: string): Promise<Answer>;
  /** Does a change of the graph by ana and tells the model. */
  change(server: number, change: "follow" | "unfollow" | "block" | "mute" | "unmute", whom: string): Promise<void>;
  /** Deletes the latest post of somebody, through a server. @returns its id. */
  deletePost(server: number, author: string): Promise<string>;
  /** Every server's first page must be the model's at once, whatever it is made of. */
  assertRight(t: Test, when: string): Promise<void>;
  /** The same, and from Redis again before long. */
  assertRecovered(t: Test, when: string): Promise<void>;
}

/** Three servers and a worker on a Redis of their own; ana follows three who have posted. */
async function startScene(t: Test): Promise<Scene | undefined> {
  const service = await redisService(t, { own: true });
  if (!service) return undefined;
  const redis = new Redis(service.url, { maxRetriesPerRequest: null, retryStrategy: () => 50 });
  // It comes back by itself.
  redis.on("error", () => undefined);
  t.teardown(() => redis.disconnect());
  const world = await startWorld(t, {
    people: ["ana", ...AUTHORS, "eva"],
    servers: SERVERS.length,
    workers: 1,
    settings: { TINTYPE_REDIS_URL: service.url, TINTYPE_REDIS_KEY_PREFIX: service.prefix },
    postsEach: 30,
  });
  const { model, ask } = world;
  const asked = async (...request: Parameters<World["ask"]>) => {
    const answer = await ask(...request);
    if (!answer) throw new Error("no server is killed here");
    return answer;
  };
  const expected = () =>
    model
      .feedOf("ana")
      .map(({ id }) => id)
      .slice(0, 100);
  const scene: Scene = {
    world,
    service,
    redis,
    read: (server, viewer = "ana") =>
      asked(viewer, server, "GET", "/feed?limit=100", { signal: AbortSignal.timeout(10_000) }),
    async change(server, change, whom) {
      const noun = change.replace("un", "");
      const method = change === noun ? "POST" : "DELETE";
      const { status, bytes } = await asked("ana", server, method, `/users/${whom}/${noun}`);
      if (status !== 200) throw new Error(`${change}: ${status} ${bytes}`);
      model.perform({ who: "ana", change, whom });
    },
    async deletePost(server, author) {
      const post = model.feedOf(author).find((post) => post.author === author);
      if (!post) throw new Error(`${author} has no post`);
      const { status, bytes } = await asked(author, server, "DELETE", `/posts/${post.id}`);
      if (status !== 204) throw new Error(`delete: ${status} ${bytes}`);
      const known = model.posts.get(post.id);
      if (known) known.deleted = true;
      return post.id;
    },
    async assertRight(t, when) {
      const answers = await Promise.all(SERVERS.map((server) => scene.read(server)));
      for (const { status, body } of answers)
        t.same({ status, ids: idsOf(body) }, { status: 200, ids: expected() }, when);
    },
    async assertRecovered(t, when) {
      for (const server of SERVERS) {
        await waitFor(async () => (await scene.read(server)).body.degraded === false, "a feed from Redis");
      }
      await scene.assertRight(t, when);
    },
  };
  for (const author of AUTHORS) await scene.change(0, "follow", author);
  await scene.assertRecovered(t, "in the beginning");
  return scene;
}

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

t.test("a post that is published while a timeline is built is in it", async (t) => {
  const scene = await startScene(t);
  if (!scene) return;
  const { world, redis, read, change } = scene;
  const { sql } = world;
  await change(0, "mute", "eva");
  const gate = await gateOf(t, world);
  // Reading posts waits in the middle of the statement, which does not see what is committed from then on.
  await sql.query("ALTER TABLE mutes RENAME TO all_mutes");
  await sql.query("CREATE VIEW mutes AS SELECT * FROM all_mutes WHERE wait_at_gate('%published_at%')");
  await redis.flushall();
  await gate.close();
  const building = read(0);
  await gate.waiting();
  const { id } = await publishBy(world, "ben");
  await world.jobsDone();
  await gate.open();
  t.equal((await building).status, 200);
  const before = await rebuildsOf(world);
  await scene.assertRecovered(t, "whole");
  t.equal(idsOf((await read(1)).body)[0], id);
  t.equal(await rebuildsOf(world), before, "what was built is kept");
});

t.test("a timeline that is built while a change is just about to be committed", async (t) => {
  const scene = await startScene(t);
  if (!scene) return;
  const { world, read, change } = scene;
  const gate = await gateOf(t, world);
  for (const table of ["follows", "mutes", "blocks", "posts"]) {
    await world.sql.query(`CREATE CONSTRAINT TRIGGER held AFTER INSERT OR UPDATE OR DELETE ON ${table}
      DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION commit_at_gate()`);
  }
  const changes: [string, () => Promise<unknown>][] = [
    ["unfollow", () => change(0, "unfollow", "ben")],
    ["follow", () => change(1, "follow", "ben")],
    ["mute", () => change(2, "mute", "cleo")],
    ["unmute", () => change(0, "unmute", "cleo")],
    ["block", () => change(1, "block", "dan")],
  ];
  for (const [name, work] of changes) {
    await gate.close();
    const before = await Promise.all(SERVERS.map((server) => read(server)));
    const working = work();
    await gate.waiting();
    const during = await Promise.all(SERVERS.map((server) => read(server)));
    t.same(
      during.map(({ body }) => idsOf(body)),
      before.map(({ body }) => idsOf(body)),
      `${name} is not yet so`,
    );
    await gate.open();
    await working;
    await scene.assertRight(t, `${name} is so`);
    await scene.assertRecovered(t, name);
  }

  await gate.close();
  const deleting = scene.deletePost(0, "ben");
  await gate.waiting();
  const during = await Promise.all(SERVERS.map((server) => read(server)));
  await gate.open();
  const id = await deleting;
  for (const { body } of during) t.ok(idsOf(body).includes(id), "not yet deleted");
  t.notOk(idsOf((await read(0)).body).includes(id), "at once where it was deleted");
  for (const server of SERVERS) await waitFor(async () => !idsOf((await read(server)).body).includes(id), "the others");
  await scene.assertRecovered(t, "deleted");
});

t.test("FLUSHALL while a row is read that changes: what was is not kept", async (t) => {
  const scene = await startScene(t);
  if (!scene) return;
  const { world, redis, read, change } = scene;
  const gate = await gateOf(t, world);
  await change(0, "unfollow", "ben");
  const { id } = await publishBy(world, "ben");
  await world.sql.query("ALTER TABLE post_media RENAME TO all_post_media");
  await world.sql.query(
    "CREATE VIEW post_media AS SELECT * FROM all_post_media WHERE wait_at_gate('%AS snapshot, id, user_id%')",
  );
  await change(0, "follow", "ben");
  await gate.close();
  const reading = read(0);
  await gate.waiting();
  const edited = await world.ask("ben", 1, "PATCH", `/posts/${id}`, { json: { caption: "edited" } });
  t.equal(edited?.status, 200);
  await redis.flushall();
  await gate.open();
  await reading;
  for (const server of SERVERS) {
    await waitFor(
      async () => (await read(server)).body.items[0]?.caption === "edited",
      `the caption on server ${server}`,
    );
  }
});

const idsOf = (body: Json): string[] => body.items.map(({ id }: Json) => id);

/** How many timelines all servers have built so far. */
async function rebuildsOf({ servers }: World): Promise<number> {
  const counts = await Promise.all(
    servers.map(async ({ client }) => {
      const { bytes } = await client.request("GET", "/metrics");
      const count = /^tintype_feed_rebuilds_total (\d+)/m.exec(bytes.toString())?.[1];
      if (count === undefined) throw new Error("no count of rebuilds");
      return Number(count);
    }),
  );
  return counts.reduce((sum, count) => sum + count, 0);
}

/** Publishes a post, waits until it is, and tells the model. */
async function publishBy({ model, ask, postForm }: World, author: string): Promise<{ id: string }> {
  const posted = await ask(author, 0, "POST", "/posts", { form: postForm("new") });
  const id = String(posted?.body.post_id);
  const post = await waitFor(async () => {
    const body = (await ask(author, 0, "GET", `/posts/${id}`))?.body;
    return body.status === "published" && body;
  }, "the post");
  const { published_at } = post;
  model.posts.set(id, { id, author, caption: "new", published_at, settled: true, deleted: false });
  return { id };
}

/** A place in Postgres at which statements and commits wait while it is closed. */
async function gateOf(t: Test, { sql }: World) {
  await sql.query(`CREATE FUNCTION wait_at_gate(queries text) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN
    IF current_query() LIKE queries THEN
      PERFORM pg_advisory_lock_shared(${GATE}); PERFORM pg_advisory_unlock_shared(${GATE});
    END IF;
    RETURN true;
  END$$`);
  await sql.query(`CREATE FUNCTION commit_at_gate() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
    PERFORM wait_at_gate('%'); RETURN NULL;
  END$$`);
  let keeper: pg.PoolClient | undefined;
  const open = async () => {
    await keeper?.query(`SELECT pg_advisory_unlock(${GATE})`);
    keeper?.release();
    keeper = undefined;
  };
  t.teardown(open);
  return {
    open,
    async close() {
      keeper = await sql.connect();
      await keeper.query(`SELECT pg_advisory_lock(${GATE})`);
    },
    waiting: () =>
      waitFor(async () => {
        const { rowCount } = await sql.query(
          "SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = $1 AND NOT granted",
          [GATE],
        );
        return rowCount;
      }, "somebody at the gate"),
  };
}
const GATE = 4_711;
