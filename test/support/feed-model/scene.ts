import { Redis } from "ioredis";
import type { Test } from "tap";
import type { Answer, Json } from "../client.ts";
import { waitFor } from "../server.ts";
import { type Own, type RedisService, redisService } from "../services.ts";
import { startWorld, type World } from "./world.ts";

export const SERVERS = [0, 1, 2];
export const AUTHORS = ["ben", "cleo", "dan"];

export interface Scene {
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
export async function startScene(t: Test): Promise<Scene | undefined> {
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

export const idsOf = (body: Json): string[] => body.items.map(({ id }: Json) => id);

/** How many timelines all servers have built so far. */
export async function rebuildsOf({ servers }: World): Promise<number> {
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
export async function publishBy({ model, ask, postForm }: World, author: string): Promise<{ id: string }> {
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
