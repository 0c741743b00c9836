import { readdir } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { type Json, postForm } from "../support/client.ts";
import { picture } from "../support/pictures.ts";
import { waitFor } from "../support/server.ts";
import { publish, startService } from "../support/service.ts";

const { client, dataDir, server } = await startService(t);
const alice = await client.register("alice");
const bob = await client.register("bob");
const NOTHING = "01890000-0000-7000-8000-000000000000";
const photo = await picture({ width: 600, height: 450 });
const shown = await publish(alice, [photo], { caption: "as it was", altTexts: ["a scene"] });
const [medium] = shown.media;

t.test("a rendition: its headers, and as little of it as is asked for", async (t) => {
  const whole = await client.request("GET", medium.large_url);
  const size = whole.bytes.length;
  const etag = whole.headers.get("etag") ?? "";
  t.match(Object.fromEntries(whole.headers), {
    "content-type": "image/webp",
    "content-length": String(size),
    "cache-control": "public, max-age=60",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "cross-origin",
    "accept-ranges": "bytes",
    etag: /^"[\w-]{20,}"$/,
  });
  t.not((await client.request("GET", medium.medium_url)).headers.get("etag"), etag);

  const asked: [headers: Record<string, string>, status: number, from?: number, to?: number][] = [
    [{ "if-none-match": etag }, 304],
    [{ "if-none-match": `W/${etag}` }, 304],
    [{ "if-none-match": `"another", ${etag}` }, 304],
    [{ "if-none-match": "*" }, 304],
    [{ "if-none-match": '"another"' }, 200],
    [{ "if-none-match": etag, range: "bytes=0-9" }, 304],
    [{ range: "bytes=0-0" }, 206, 0, 0],
    [{ range: "bytes=10-99" }, 206, 10, 99],
    [{ range: "bytes=100-" }, 206, 100, size - 1],
    [{ range: "bytes=-100" }, 206, size - 100, size - 1],
    [{ range: `bytes=-${size + 1}` }, 206, 0, size - 1],
    [{ range: "bytes=10-999999999" }, 206, 10, size - 1],
    [{ range: "bytes=0-9", "if-range": etag }, 206, 0, 9],
    [{ range: "bytes=0-9", "if-range": '"another"' }, 200],
    [{ range: "bytes=0-9", "if-range": `W/${etag}` }, 200],
    [{ range: "bytes=0-9", "if-range": "Wed, 21 Oct 2015 07:28:00 GMT" }, 200],
    [{ range: "bytes=0-9,20-29" }, 200],
    [{ range: "bytes=9-0" }, 200],
    [{ range: "bytes=x" }, 200],
    [{ range: "seconds=0-9" }, 200],
    [{ range: `bytes=${size}-` }, 416],
    [{ range: "bytes=-0" }, 416],
  ];
  for (const [headers, status, from, to] of asked) {
    const answer = await client.request("GET", medium.large_url, { headers });
    const what = JSON.stringify(headers);
    t.equal(answer.status, status, what);
    if (status === 200) t.ok(answer.bytes.equals(whole.bytes), `${what}: the whole`);
    if (status === 304) t.match({ length: answer.bytes.length, etag: answer.headers.get("etag") }, { length: 0, etag });
    if (status === 416) {
      t.equal(answer.headers.get("content-range"), `bytes */${size}`);
      t.equal(answer.bytes.length, 0, `${what}: nothing`);
    }
    if (from === undefined || to === undefined) continue;
    t.equal(answer.headers.get("content-range"), `bytes ${from}-${to}/${size}`);
    t.ok(answer.bytes.equals(whole.bytes.subarray(from, to + 1)), `${what}: those bytes`);
  }

  for (const headers of [{}, { range: "bytes=0-9" }]) {
    const answer = await client.request("HEAD", medium.large_url, { headers });
    t.match(
      { status: answer.status, length: answer.headers.get("content-length"), bytes: answer.bytes.length },
      { status: 200, length: String(size), bytes: 0 },
      "HEAD tells of the whole",
    );
    t.equal(answer.headers.get("etag"), etag);
  }
});

t.test("media that are not there", async (t) => {
  const paths = [
    `${medium.id}/huge.webp`,
    `${medium.id}/large.png`,
    `${medium.id}/large`,
    `${medium.id}/LARGE.webp`,
    `${medium.id}/original`,
    `${medium.id}/`,
    `${medium.id}`,
    `${NOTHING}/large.webp`,
    "nonsense/large.webp",
    `${medium.id}%00/large.webp`,
    `..%2f..%2foriginals%2f${medium.id.slice(-2)}/${medium.id}`,
    `${medium.id}/..%2flarge.webp`,
  ];
  for (const path of paths) {
    const { status, body } = await client.request("GET", `/media/${path}`);
    t.match({ status, body }, { status: 404, body: { error: { code: String } } }, path);
  }
  const originals = await fetch(`${server.url}/media/originals/${medium.id.slice(-2)}/${medium.id}`);
  t.equal(originals.status, 404, "an original is nobody's to fetch");
});

t.test("a post is read, and what is not there looks the same to all", async (t) => {
  t.same((await bob.request("GET", `/posts/${shown.id}`)).body, shown);
  t.same((await alice.request("GET", `/posts/${shown.id}`)).body, shown);
  t.equal((await client.request("GET", `/posts/${shown.id}`)).status, 401);
  for (const id of [NOTHING, "nonsense", "%00", "x".repeat(200)]) {
    for (const [method, json] of [["GET"], ["DELETE"], ["PATCH", { caption: "x" }]] as const) {
      const { status, body } = await bob.request(method, `/posts/${id}`, { json });
      t.match({ status, body }, { status: 404, body: { error: { code: "POST_NOT_FOUND" } } }, `${method} ${id}`);
    }
  }
  t.equal((await bob.request("GET", "/users/nobody/posts")).status, 404);
});

t.test("a caption is its author's to change", async (t) => {
  const edit = (json: unknown, by = alice) => by.request("PATCH", `/posts/${shown.id}`, { json });
  for (const caption of ["changed", "🌅".repeat(2200), "a\nb ' \" \\ <b>", null]) {
    t.same((await edit({ caption })).body, { ...shown, caption });
    t.same((await bob.request("GET", `/posts/${shown.id}`)).body, { ...shown, caption });
  }
  t.match((await edit({ caption: "" })).body, { caption: null }, "an empty one is none");
  const wrong: [json: unknown, status: number][] = [
    [{ caption: "x".repeat(2201) }, 422],
    [{ caption: "a\0b" }, 422],
    [{ caption: "\ud800" }, 422],
    [{ caption: 7 }, 400],
    [{ caption: "x", status: "deleted" }, 400],
    [{}, 400],
    [[], 400],
    ["x", 400],
  ];
  for (const [json, status] of wrong) t.equal((await edit(json)).status, status, JSON.stringify(json).slice(0, 40));
  t.match(await edit({ caption: "mine now" }, bob), { status: 403, body: { error: { code: "NOT_YOUR_POST" } } });
  t.same((await bob.request("GET", `/posts/${shown.id}`)).body, { ...shown, caption: null }, "nothing has changed");
});

t.test("hashtags and mentions of a caption, as those may know whom they name", async (t) => {
  const carol = await client.register("carol.");
  const caption = "🌅 with @Bob, @carol.. and @nobody1: #Été";
  const edited = await alice.request("PATCH", `/posts/${shown.id}`, { json: { caption } });
  t.strictSame(edited.body.caption_entities, [
    { type: "mention", text: "@Bob", start: 7, end: 11, tag: null, username: "bob" },
    { type: "mention", text: "@carol.", start: 13, end: 20, tag: null, username: "carol." },
    { type: "mention", text: "@nobody1", start: 26, end: 34, tag: null, username: null },
    { type: "hashtag", text: "#Été", start: 36, end: 40, tag: "été", username: null },
  ]);
  const names = async () => {
    const seen = (await bob.request("GET", `/posts/${shown.id}`)).body;
    const feed = (await bob.request("GET", "/users/alice/posts")).body.items.find((post: Json) => post.id === shown.id);
    t.strictSame(feed.caption_entities, seen.caption_entities, "in lists as alone");
    return seen.caption_entities.map((entity: Json) => entity.username);
  };
  t.strictSame(await names(), ["bob", "carol.", null, null]);
  await carol.request("PATCH", "/me", { json: { username: "caroline" } });
  t.strictSame(await names(), ["bob", "caroline", null, null], "by today's name");
  await carol.request("POST", "/users/bob/block");
  t.strictSame(await names(), ["bob", null, null, null], "who blocks the viewer is not there");
  const many = await alice.request("PATCH", `/posts/${shown.id}`, { json: { caption: "#a ".repeat(31) } });
  t.match(many, { status: 422, body: { error: { code: "TOO_MANY_HASHTAGS" } } });
  const refused = await alice.request("POST", "/posts", { form: postForm([photo], "@bob ".repeat(21)) });
  t.match(refused, { status: 422, body: { error: { code: "TOO_MANY_MENTIONS" } } });
});

t.test("comments are closed and opened by the author, and the caption stays", async (t) => {
  const edit = (comments_closed: unknown) =>
    alice.request("PATCH", `/posts/${shown.id}`, { json: { comments_closed } });
  const { caption } = (await alice.request("GET", `/posts/${shown.id}`)).body;
  t.match((await edit(true)).body, { comments_closed: true, caption });
  t.match((await bob.request("GET", `/posts/${shown.id}`)).body, { comments_closed: true, caption });
  t.match((await edit(false)).body, { comments_closed: false, caption });
  t.equal((await edit("yes")).status, 400);
});

t.test("an author's grid, latest first, by pages", async (t) => {
  const carol = await client.register("carol");
  const ids: string[] = [];
  for (let i = 0; i < 5; i++) ids.unshift((await publish(carol, [await picture({ width: 32, height: 32 })])).id);
  t.match((await bob.request("GET", "/users/carol")).body, { post_count: 5 });
  t.match((await bob.request("GET", "/users/CAROL/posts")).body.items.map(idOf), ids, "names have no case");
  const pages: string[][] = [];
  for (let url: string | null = "/users/carol/posts?limit=2"; url !== null; ) {
    const answer: Json = await bob.request("GET", url);
    pages.push(answer.body.items.map(idOf));
    url = /<(.+)>; rel="next"/.exec(answer.headers.get("link") ?? "")?.[1] ?? null;
    t.equal(url === null, answer.body.next_cursor === null, "a Link where there is a cursor");
  }
  t.same(pages, [ids.slice(0, 2), ids.slice(2, 4), ids.slice(4)]);
});

t.test("a deleted post is gone everywhere at once, and its files soon", async (t) => {
  await bob.request("POST", "/users/alice/follow");
  const post = await publish(alice, [photo, photo], { caption: "soon gone" });
  t.match((await bob.request("GET", "/users/alice")).body, { post_count: 2 });
  t.equal((await filesOf(post)).length, 10, "two originals, four renditions each");
  t.match(await bob.request("DELETE", `/posts/${post.id}`), {
    status: 403,
    body: { error: { code: "NOT_YOUR_POST" } },
  });

  const deletions = await Promise.all(Array.from({ length: 5 }, () => alice.request("DELETE", `/posts/${post.id}`)));
  t.same(
    deletions.map(({ status }) => status).sort(),
    [204, 404, 404, 404, 404],
    "once, however often it is asked for",
  );
  for (const { large_url, thumbnail_url } of post.media) {
    for (const url of [large_url, thumbnail_url]) t.equal((await client.request("GET", url)).status, 404);
  }
  for (const viewer of [alice, bob]) {
    const { status, body } = await viewer.request("GET", `/posts/${post.id}`);
    t.match({ status, body }, { status: 404, body: { error: { code: "POST_NOT_FOUND" } } });
    t.same((await viewer.request("GET", "/feed")).body.items.map(idOf), [shown.id]);
    t.same((await viewer.request("GET", "/users/alice/posts")).body.items.map(idOf), [shown.id]);
    t.match((await viewer.request("GET", "/users/alice")).body, { post_count: 1 });
  }
  t.equal((await alice.request("PATCH", `/posts/${post.id}`, { json: { caption: "x" } })).status, 404);
  await waitFor(async () => (await filesOf(post)).length === 0, "its files to go");
  t.equal((await filesOf(shown)).length, 5, "those of another post stay");
});

t.test("a post that is deleted while it is processed leaves nothing", async (t) => {
  for (const wait of [0, 20, 50, 100, 200]) {
    const id = await alice.post([photo, photo, photo]);
    await new Promise((resolve) => setTimeout(resolve, wait));
    t.equal((await alice.request("DELETE", `/posts/${id}`)).status, 204, `after ${wait} ms`);
    t.equal((await alice.request("GET", `/posts/${id}`)).status, 404);
  }
  const last = await publish(alice, [photo]);
  await waitFor(async () => {
    const files = await readdir(join(dataDir, "media"), { recursive: true, withFileTypes: true });
    // But for the store's own, which lies in its root.
    const objects = files.filter((entry) => entry.isFile() && entry.parentPath !== join(dataDir, "media"));
    return objects.length === 5 * (2 + 5);
  }, "only the files of what is left: two of alice's posts, five of carol's");
  await waitFor(async () => (await readdir(join(dataDir, "staging"))).length === 0, "the last try to give up");
  t.match((await bob.request("GET", "/users/alice")).body, { post_count: 2 });
  t.same((await bob.request("GET", "/users/alice/posts")).body.items.map(idOf), [last.id, shown.id]);
});

function idOf(post: Json): string {
  return post.id;
}

/** The paths of all objects of a post's media. */
async function filesOf(post: Json): Promise<string[]> {
  // A folder that is removed while it is read is an error, and asked for again.
  const files = await waitFor(
    () => readdir(join(dataDir, "media"), { recursive: true, withFileTypes: true }),
    "the store to be read",
  );
  const paths = files.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return paths.filter((path) => post.media.some(({ id }: Json) => path.includes(id)));
}
