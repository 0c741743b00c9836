import { randomBytes } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import pg from "pg";
import t, { type Test } from "tap";
import { v7 as newId } from "uuid";
import type { Json, SignedIn } from "../support/client.ts";
import { picture } from "../support/pictures.ts";
import { waitFor } from "../support/server.ts";
import { publish, startService } from "../support/service.ts";
import { type RedisService, redisService, removeKeys } from "../support/services.ts";

t.test("from Postgres alone", (t) => suite(t, null));

t.test("from timelines in Redis", async (t) => {
  const redis = await redisService(t);
  if (redis) await suite(t, redis);
});

async function suite(t: Test, redis: RedisService | null): Promise<void> {
  const { client, databaseUrl } = await startService(
    t,
    redis ? { TINTYPE_REDIS_URL: redis.url, TINTYPE_REDIS_KEY_PREFIX: redis.prefix } : {},
  );
  const database = new pg.Pool({ connectionString: databaseUrl, max: 2 });
  t.teardown(() => database.end());
  const viewer = await client.register("viewer");
  const authors = await Promise.all(["author0", "author1", "author2"].map((name) => client.register(name)));
  const stranger = await client.register("stranger");

  /** Writes published posts without pictures straight into the database: ties of a millisecond cannot be made by hand. */
  async function insert(posts: readonly { author: number; at: number }[]): Promise<Row[]> {
    // Ids that do not follow the time, as those of posts that took long do not.
    const rows = posts.map(({ author, at }) => ({
      author,
      at,
      id: newId({ msecs: EPOCH + randomBytes(2).readUInt16BE() }),
    }));
    await database.query(
      `WITH added AS (
         INSERT INTO posts (id, user_id, status, published_at)
         SELECT id, user_id, 'published', to_timestamp(ms / 1000.0)
         FROM unnest($1::uuid[], $2::uuid[], $3::float8[]) AS row (id, user_id, ms) RETURNING user_id)
       UPDATE users SET post_count = post_count + (SELECT count(*) FROM added WHERE user_id = users.id)`,
      [rows.map(idOf), rows.map(({ author }) => authors[author]?.id), rows.map(({ at }) => EPOCH + at)],
    );
    // What is written behind the product's back is in no timeline that is there already.
    if (redis) await removeKeys(redis);
    return rows;
  }

  /** As at the beginning: no posts, and the viewer follows the authors. */
  async function begin() {
    await database.query("DELETE FROM posts");
    // What is written behind the product's back is in no timeline that is there already.
    if (redis) await removeKeys(redis);
    for (const { username } of authors) await viewer.request("POST", `/users/${username}/follow`);
  }

  t.beforeEach(begin);

  t.test("an empty feed", async (t) => {
    const { status, body, headers } = await viewer.request("GET", "/feed");
    t.same({ status, body }, { status: 200, body: { items: [], next_cursor: null, degraded: false } });
    t.equal(headers.get("link"), null);
    t.equal((await client.request("GET", "/feed")).status, 401);
  });

  t.test("those one follows and oneself, in the order of publishing; unfollowing takes posts out", async (t) => {
    const [a, b] = authors as [SignedIn, SignedIn];
    const photo = await picture({ width: 32, height: 32 });
    const ids: string[] = [];
    for (const author of [viewer, a, stranger, b, viewer]) ids.unshift((await publish(author, [photo])).id);
    const [mine, bs, , as, oldest] = ids;
    const feed = async () => (await viewer.request("GET", "/feed")).body.items.map(idOf);
    t.same(await feed(), [mine, bs, as, oldest], "no stranger's");

    await viewer.request("DELETE", `/users/${a.username}/follow`);
    t.same(await feed(), [mine, bs, oldest]);
    await viewer.request("POST", `/users/${a.username}/follow`);
    await viewer.request("POST", `/users/${stranger.username}/follow`);
    t.same(await feed(), ids, "following brings posts of the past");
    await viewer.request("DELETE", `/users/${stranger.username}/follow`);
    t.same((await authors[2]?.request("GET", "/feed"))?.body.items, [], "whoever follows nobody sees nothing");
  });

  t.test("what others and oneself did with a post, and whom its caption mentions", async (t) => {
    const [a] = authors as [SignedIn];
    const photo = await picture({ width: 32, height: 32 });
    const post = await publish(a, [photo], { caption: "with @viewer, @stranger and @nobody #sunset" });
    /** As the feed shows it, once that says what the post itself says: counts may be two seconds old. */
    const shown = async (who: SignedIn) =>
      waitFor(async () => {
        const { items } = (await who.request("GET", "/feed")).body;
        const inFeed = items.find(({ id }: Json) => id === post.id);
        const alone = (await who.request("GET", `/posts/${post.id}`)).body;
        return isDeepStrictEqual(inFeed, alone) && inFeed;
      }, "the feed to say what the post says");
    /** By its id in capitals, by which no cache knows it. */
    const act = async (who: SignedIn, method: string, path: string, json?: object) => {
      const url = `/posts/${post.id.toUpperCase()}${path}`;
      const { status } = await who.request(method, url, json === undefined ? {} : { json });
      if (status >= 300) throw new Error(`${method} ${path}: ${status}`);
    };
    const own = async () => {
      const [{ liked_by_me, saved_by_me }] = (await viewer.request("GET", "/feed")).body.items;
      return [liked_by_me, saved_by_me];
    };
    t.match(await shown(viewer), { like_count: 0, comment_count: 0, liked_by_me: false, saved_by_me: false });
    await act(viewer, "POST", "/like");
    t.same(await own(), [true, false], "one's own like at once");
    await act(viewer, "POST", "/save");
    t.same(await own(), [true, true], "and what one saves");
    await act(stranger, "POST", "/like");
    await act(stranger, "POST", "/comments", { text: "hello" });
    await act(a, "PATCH", "", { comments_closed: true });
    const seen = { like_count: 2, comment_count: 1, comments_closed: true };
    t.match(await shown(viewer), { ...seen, liked_by_me: true, saved_by_me: true });
    t.match(await shown(a), { ...seen, liked_by_me: false, saved_by_me: false });
    const names = async () => (await shown(viewer)).caption_entities.map(({ username }: Json) => username);
    t.same(await names(), ["viewer", "stranger", null, null]);
    await stranger.request("POST", "/users/viewer/block");
    t.same(await names(), ["viewer", null, null, null], "who blocks the viewer is not named");
    await stranger.request("DELETE", "/users/viewer/block");
    await act(viewer, "DELETE", "/like");
    await act(viewer, "DELETE", "/save");
    t.same(await own(), [false, false]);
    t.match(await shown(viewer), { like_count: 1 });
  });

  t.test("limits, cursors and links", async (t) => {
    const posts = Array.from({ length: 120 }, (_, index) => ({ author: index % 3, at: Math.floor(index / 7) }));
    const ids = newestFirst(await insert(posts)).map(idOf);
    const page = async (query: string) => viewer.request("GET", `/feed${query}`);
    t.same((await page("")).body.items.map(idOf), ids.slice(0, 20), "20 unless asked otherwise");
    t.same((await page("?limit=100")).body.items.map(idOf), ids.slice(0, 100));
    t.equal((await page("?limit=1")).body.items.length, 1);
    for (const limit of ["0", "101", "-1", "1.5", "x", "", "1e2x"]) {
      t.match(await page(`?limit=${limit}`), { status: 400, body: { error: { code: "INVALID_REQUEST" } } }, limit);
    }

    const first = await page("?limit=7&other=kept");
    const link = /^<(.+)>; rel="next"$/.exec(first.headers.get("link") ?? "")?.[1] ?? "";
    t.equal(new URL(link).searchParams.get("cursor"), first.body.next_cursor);
    t.match(link, /\/api\/v1\/feed\?.*limit=7/);
    t.same((await viewer.request("GET", link)).body.items.map(idOf), ids.slice(7, 14));

    const cursor: string = first.body.next_cursor;
    t.match(cursor, /^[\w-]{1,64}$/);
    const bad = ["x", "", cursor.slice(1), `${cursor}A`, `${cursor}=`, cursor.toLowerCase(), `-${cursor.slice(1)}`];
    const encoded = [Buffer.from('{"id":1}'), Buffer.alloc(24, 0xff), randomBytes(23)].map((b) =>
      b.toString("base64url"),
    );
    for (const wrong of [...bad, ...encoded, "x".repeat(5000), "'--"]) {
      const { status, body } = await page(`?cursor=${wrong}`);
      t.match({ status, body }, { status: 400, body: { error: { code: /^INVALID_/ } } }, wrong.slice(0, 40));
    }
    t.equal((await page(`?cursor=${cursor}&cursor=${cursor}`)).status, 400);
    // Well made, of times beyond what a database or a Date can hold: a page or a refusal, but no failure.
    for (const at of [0n, 253402300800000n, 8640000000000000n, 8640000000000001n, 2n ** 63n - 1n]) {
      const bytes = Buffer.alloc(24, 1);
      bytes.writeBigInt64BE(at);
      const { status } = await page(`?cursor=${bytes.toString("base64url")}`);
      t.ok(status === 200 || status === 400, `${at} ms: ${status}`);
    }
  });

  t.test("whatever happens between two pages, a page is what a model in memory says", async (t) => {
    for (const list of redis ? ["/feed"] : ["/feed", "/users/author0/posts"]) {
      const property = fc.asyncProperty(
        fc.array(fc.record({ author, at }), { maxLength: 40 }),
        steps,
        async (posts, steps) => {
          await begin();
          const followed = new Set([0, 1, 2]);
          const model = await insert(posts);
          let last: Row | undefined;
          let cursor: string | null = "";
          const read = async (limit: number) => {
            const visible = model.filter((post) => (list === "/feed" ? followed.has(post.author) : post.author === 0));
            const rest = newestFirst(visible).filter((post) => !last || isAfter(post, last));
            const { body } = await viewer.request("GET", `${list}?limit=${limit}${cursor ? `&cursor=${cursor}` : ""}`);
            const wanted = rest.slice(0, limit).map(idOf);
            if (String(body.items.map(idOf)) !== String(wanted))
              throw new Error(`${body.items.map(idOf)} and not ${wanted}`);
            if (body.degraded === true) throw new Error("degraded");
            if ((body.next_cursor === null) !== rest.length <= limit) throw new Error(`cursor ${body.next_cursor}`);
            last = rest[limit - 1] ?? last;
            cursor = body.next_cursor;
          };
          for (const step of steps) {
            if (cursor === null) return;
            if (step.step === "read") await read(step.limit);
            else if (step.step === "insert") model.push(...(await insert([step])));
            else if (step.step === "remove") {
              const [gone] = model.splice(step.index % Math.max(model.length, 1), 1);
              if (gone) await authors[gone.author]?.request("DELETE", `/posts/${gone.id}`);
            } else {
              const method = step.step === "follow" ? "POST" : "DELETE";
              await viewer.request(method, `/users/author${step.author}/follow`);
              followed[step.step === "follow" ? "add" : "delete"](step.author);
            }
          }
          while (cursor !== null) await read(5);
        },
      );
      await fc.assert(property, { numRuns: 25 });
      t.pass(list);
    }
  });

  t.test("a thousand posts of one millisecond, read by small pages while others write", async (t) => {
    const before = newestFirst(await insert(Array.from({ length: 1000 }, (_, i) => ({ author: i % 3, at: 1 })))).map(
      idOf,
    );
    let reading = true;
    // Newer ones, and one's own of the same millisecond, which may fall anywhere.
    const writing = (async () => {
      const written: string[] = [];
      while (reading) written.push(...(await insert([0, 1, 2].map((at) => ({ author: 0, at: 1 + at })))).map(idOf));
      return written;
    })();
    const seen: string[] = [];
    for (let cursor: string | null = ""; cursor !== null; ) {
      const { body }: Json = await viewer.request("GET", `/feed?limit=23${cursor ? `&cursor=${cursor}` : ""}`);
      seen.push(...body.items.map(idOf));
      cursor = body.next_cursor;
    }
    reading = false;
    const written = new Set(await writing);
    t.ok(written.size > 0, `${written.size} were written meanwhile`);
    t.equal(new Set(seen).size, seen.length, "none twice");
    t.same(
      seen.filter((id) => !written.has(id)),
      before,
      "none lost, in order",
    );
  });

  t.test("what the metrics say of where pages came from", async (t) => {
    const { bytes } = await client.request("GET", "/metrics");
    const count = (name: string) => Number(new RegExp(`^${name} (\\d+)`, "m").exec(bytes.toString())?.[1]);
    t.equal(count("instagram_feed_cache_hits_total") > 0, redis !== null);
    t.equal(count("instagram_feed_cache_misses_total") > 0, redis !== null);
  });
}

/** A step of a reader, or of the world while it reads. `at` is in milliseconds from EPOCH. */
type Step =
  | { step: "read"; limit: number }
  | { step: "insert"; author: number; at: number }
  | { step: "remove"; index: number }
  | { step: "follow" | "unfollow"; author: number };

const author = fc.integer({ min: 0, max: 2 });
// A few milliseconds only, so that many posts share one.
const at = fc.integer({ min: 0, max: 3 });
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.record({ step: fc.constant("read" as const), limit: fc.integer({ min: 1, max: 7 }) }) },
    { weight: 2, arbitrary: fc.record({ step: fc.constant("insert" as const), author, at }) },
    { weight: 1, arbitrary: fc.record({ step: fc.constant("remove" as const), index: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ step: fc.constantFrom("follow" as const, "unfollow" as const), author }) },
  ),
  { maxLength: 20 },
);

interface Row {
  id: string;
  author: number;
  at: number;
}

const EPOCH = Date.UTC(2026, 0, 1);

function isAfter(one: Row, other: Row): boolean {
  return one.at < other.at || (one.at === other.at && one.id < other.id);
}

function newestFirst(rows: readonly Row[]): Row[] {
  return rows.toSorted((a, b) => (isAfter(a, b) ? 1 : -1));
}

function idOf({ id }: { id: string }): string {
  return id;
}
