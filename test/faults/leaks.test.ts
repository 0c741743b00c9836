/**
 * Eve reads all that she can of Ana, again after each thing that Ana or somebody else does: every list, count, error, header,
 * picture and search. What she may not see must leave no trace in any byte that she ever got.
 */
import { text } from "node:stream/consumers";
import t, { type Test } from "tap";
import { fromBufferPromise } from "yauzl";
import { type Answer, type Client, createClient, type Json, type SignedIn } from "../support/client.ts";
import { picture } from "../support/pictures.ts";
import { run, waitFor } from "../support/server.ts";
import { publish, startService } from "../support/service.ts";

const service = await startService(t);
const { client } = service;
const photo = await picture({ width: 40, height: 30 });

const [ana, eve, ben, dora] = (await Promise.all(["ana", "eve", "ben", "dora"].map(client.register))) as [
  SignedIn,
  SignedIn,
  SignedIn,
  SignedIn,
];
/** Eve's ways that need no token. */
const anonymous = createClient(service.server.url);

/** Every byte that Eve got, but of what she was shown with good reason. */
const received: string[] = [];

/** The same answer, but for what differs from request to request. */
function plain({ status, headers, bytes }: Answer): string {
  const { date, "x-request-id": requestId = "", ...rest } = Object.fromEntries(headers);
  return `${status} ${JSON.stringify(rest)} ${bytes.toString("latin1")}`.replaceAll(requestId || "-", "REQUEST");
}

/** URLs of Ana's pictures that Eve has come to know, with tickets and without. */
const knownUrls = new Set<string>();
const knownPosts = new Set<string>();

function learn(post: Json): void {
  knownPosts.add(post.id);
  for (const medium of post.media) {
    for (const url of [medium.thumbnail_url, medium.large_url]) {
      knownUrls.add(url);
      knownUrls.add(String(url).split("?", 1)[0] ?? "");
    }
  }
}

/** All that Eve can ask, and what she is told. */
async function everything(): Promise<Map<string, string>> {
  const told = new Map<string, string>();
  const read = async (who: Client, method: string, path: string) => {
    const answered = await who.request(method, path);
    if (answered.status >= 500) throw new Error(`${method} ${path}: ${answered.status}`);
    const answer = plain(answered);
    received.push(answer);
    told.set(`${who === eve ? "" : "anonymously "}${method} ${path}`, answer);
  };
  for (const path of [
    "/users/ana",
    "/users/ana/posts",
    "/users/ana/followers",
    "/users/ana/following",
    "/users/ben/followers",
    "/users/ben/following",
    "/users/ben/followers?limit=1",
    "/users/dora/followers",
    "/users/dora/following",
    "/feed",
    "/feed?limit=100",
    "/follow-requests",
    "/me",
    "/me/blocks",
    "/me/mutes",
    "/me/suggestions",
    "/search/users?q=ana",
    "/search/users?q=a",
    "/search/users?q=secret",
    "/search/users?q=secret+name",
    "/search/users?q=sercet",
    ...[...knownPosts].map((id) => `/posts/${id}`),
  ]) {
    await read(eve, "GET", path);
    await read(eve, "HEAD", path);
    await read(anonymous, "GET", path);
  }
  for (const id of knownPosts) {
    for (const method of ["PATCH", "DELETE"]) {
      const answer = await eve.request(method, `/posts/${id}`, method === "PATCH" ? { json: { caption: "eve" } } : {});
      received.push(plain(answer));
      told.set(`${method} /posts/${id}`, String(answer.status));
    }
  }
  for (const url of [...knownUrls, ...avatarUrls]) {
    const { pathname, search } = new URL(url);
    await read(anonymous, "GET", `${pathname}${search}`);
    await read(anonymous, "HEAD", `${pathname}${search}`);
  }
  return told;
}

/** Of Ana's avatars, which are a part of her profile: URLs that Eve has come to know. */
const avatarUrls = new Set<string>();

async function learnAvatar(): Promise<void> {
  const { body } = await eve.request("GET", "/users/ana");
  avatarUrls.add(body.avatar_url);
  avatarUrls.add(String(body.avatar_url).split("?", 1)[0] ?? "");
}

/** Uploads an avatar and waits for it. @returns its medium's id. */
async function setAvatar(): Promise<string> {
  const form = new FormData();
  form.append("file", new Blob([Uint8Array.from(photo)]), "avatar.jpg");
  const before = (await ana.request("PUT", "/me/avatar", { form })).body.avatar_url;
  return waitFor(async () => {
    const { body } = await ana.request("GET", "/me");
    return body.avatar_url !== before && /media\/([^/]+)/.exec(body.avatar_url)?.[1];
  }, "the avatar");
}

const statusOf = (told: Map<string, string>, what: string) => Number(told.get(what)?.slice(0, 3));

/** What Eve's answers must look like as long as Ana's things are hidden from her. */
function assertHidden(t: Test, told: Map<string, string>, known: boolean): void {
  t.equal(statusOf(told, "GET /users/ana"), known ? 200 : 404, `her profile is ${known ? "" : "not "}there`);
  for (const list of ["posts", "followers", "following"]) t.equal(statusOf(told, `GET /users/ana/${list}`), 404, list);
  for (const id of knownPosts) {
    for (const method of ["GET", "PATCH", "DELETE"]) t.equal(statusOf(told, `${method} /posts/${id}`), 404, method);
  }
  for (const url of knownUrls) {
    const { pathname, search } = new URL(url);
    t.equal(statusOf(told, `anonymously GET ${pathname}${search}`), 404, "a URL that she knows");
  }
  for (const url of avatarUrls) {
    const { pathname, search } = new URL(url);
    const status = known && search ? 200 : 404;
    t.equal(statusOf(told, `anonymously GET ${pathname}${search}`), status, "an avatar's URL");
  }
  for (const [what, answer] of told) {
    if (!/\/(feed|suggestions|follow-requests|followers|following|mutes|search)/.test(what)) continue;
    t.notMatch(answer, /"items":\[.*("caption"|"media":)/, `${what} shows no post`);
    if (!known) t.notMatch(answer, /"username":"ana"/, `${what} does not name her`);
  }
}

const secrets: string[] = [];

/** Makes a post that Eve must never learn of. */
async function publishSecret(name: string): Promise<Json> {
  const post = await publish(ana, [photo], { caption: `secret ${name}`, altTexts: [`hidden ${name}`] });
  secrets.push(post.id, post.media[0].id, `secret ${name}`, `hidden ${name}`, post.media[0].large_url.split("t=")[1]);
  return post;
}

async function act(who: SignedIn, method: string, path: string, json?: unknown): Promise<Answer> {
  const answer = await who.request(method, path, json === undefined ? {} : { json });
  if (answer.status >= 300) throw new Error(`${who.username}: ${method} ${path}: ${answer.status} ${answer.bytes}`);
  return answer;
}

/** What of Ana's profile is everybody's: counts are a part of it, and nowhere else. */
function withoutCounts(what: string, answer = ""): string {
  if (!/(GET|HEAD) \/users\/ana$/.test(what)) return answer;
  return answer.replace(/"(post|follower|following)_count":\d+,?|"content-length":"[^"]*",?/g, "");
}

/**
 * While Ana's things are hidden, nothing that she does changes anything that Eve is told, but the counts of her profile.
 * @param others what a third person shows of themselves, and so may change.
 */
async function unnoticed(
  t: Test,
  name: string,
  known: boolean,
  change: () => Promise<unknown>,
  others: readonly string[] = [],
): Promise<void> {
  const before = await everything();
  await change();
  const after = await everything();
  assertHidden(t, after, known);
  for (const [what, answer] of after) {
    if (others.some((path) => what.endsWith(path))) continue;
    t.equal(withoutCounts(what, answer), withoutCounts(what, before.get(what)), `${name} changes nothing in ${what}`);
  }
}

t.test("a public account, as long as it is one", async (t) => {
  // So that what is suggested to her comes from somewhere.
  await act(eve, "POST", "/users/ben/follow");
  await act(ben, "POST", "/users/dora/follow");
  await act(eve, "POST", "/users/ana/follow");
  learn(await publish(ana, [photo], { caption: "for all" }));
  await setAvatar();
  await learnAvatar();
  const told = await everything();
  t.match(told.get("GET /feed"), /for all/);
  t.match(told.get("GET /users/ana/posts"), /for all/);
});

t.test("a follower of an account that went private, until it is taken away", async (t) => {
  await act(ana, "PATCH", "/me", { is_private: true });
  const { body } = await eve.request("GET", "/feed");
  t.equal(body.items.length, 1, "a follower goes on seeing");
  learn(body.items[0]);
  await learnAvatar();
  for (const url of knownUrls) {
    const { pathname, search } = new URL(url);
    const { status } = await anonymous.request("GET", `${pathname}${search}`);
    t.equal(status, search ? 200 : 404, search ? "with her ticket" : "the URL from before, without one");
  }
  await act(ana, "DELETE", "/me/followers/eve");
  assertHidden(t, await everything(), true);
});

t.test("a private account, whatever happens in it", async (t) => {
  let post: Json;
  await unnoticed(t, "a post", true, async () => {
    post = await publishSecret("post");
  });
  await unnoticed(t, "a caption", true, () => act(ana, "PATCH", `/posts/${post.id}`, { caption: "secret change" }));
  const letIn = async () => {
    await act(dora, "POST", "/users/ana/follow");
    await act(ana, "POST", "/follow-requests/dora/approve");
  };
  await unnoticed(t, "a follower that was let in", true, letIn, ["/users/dora/following"]);
  await unnoticed(t, "a request that was denied", true, async () => {
    await act(ben, "POST", "/users/ana/follow");
    await act(ana, "POST", "/follow-requests/ben/deny");
  });
  await unnoticed(t, "a mute", true, () => act(ana, "POST", "/users/eve/mute"));
  await unnoticed(t, "a deletion", true, () => act(ana, "DELETE", `/posts/${post.id}`));
  await unnoticed(t, "an upload that fails", true, async () => {
    const id = await ana.post([Buffer.concat([photo.subarray(0, 400)])]);
    secrets.push(id);
    await waitFor(async () => {
      const { body } = await ana.request("GET", `/posts/${id}`);
      return body.status === "failed";
    }, "the broken picture to fail");
  });
});

t.test("one who asks learns no more than the answer", async (t) => {
  await act(eve, "POST", "/users/ana/follow");
  await unnoticed(t, "a post", true, () => publishSecret("asked"));
  const asked = await eve.request("GET", "/users/ana");
  t.strictSame([asked.body.relationship.requested, asked.body.relationship.following], [true, false]);
  await act(ana, "POST", "/follow-requests/eve/deny");
  const denied = await eve.request("GET", "/users/ana");
  t.strictSame([denied.body.relationship.requested, denied.body.relationship.following], [false, false]);
  assertHidden(t, await everything(), true);
});

t.test("one who is blocked finds nobody", async (t) => {
  await act(ana, "POST", "/users/eve/block");
  assertHidden(t, await everything(), false);
  await unnoticed(t, "a post", false, () => publishSecret("blocked"));
  await unnoticed(t, "a name", false, () =>
    act(ana, "PATCH", "/me", { display_name: "secret name", bio: "secret bio" }),
  );
  await unnoticed(t, "an avatar", false, async () => secrets.push(await setAvatar()));
  await unnoticed(t, "going public and back", false, async () => {
    await act(ana, "PATCH", "/me", { is_private: false });
    await act(ana, "PATCH", "/me", { is_private: true });
  });
  for (const [method, path] of [
    ["POST", "/users/ana/follow"],
    ["POST", "/users/ana/block"],
    ["POST", "/users/ana/mute"],
    ["POST", "/follow-requests/ana/approve"],
    ["DELETE", "/me/followers/ana"],
  ] as const) {
    const hidden = plain(await eve.request(method, path));
    const missing = plain(await eve.request(method, path.replace("ana", "bob")));
    received.push(hidden);
    t.equal(hidden.replaceAll("ana", "NAME"), missing.replaceAll("bob", "NAME"), `${method} ${path}`);
  }
});

t.test("what she takes along does not name whom she may not know", async (t) => {
  await act(eve, "POST", "/me/export");
  const url = await waitFor(async () => (await eve.request("GET", "/me/export")).body.url, "her takeout");
  const { pathname } = new URL(url);
  const zip = await fromBufferPromise((await anonymous.request("GET", `${service.server.url}${pathname}`)).bytes);
  let files = 0;
  for await (const entry of zip.eachEntry()) {
    const content = await text(await zip.openReadStreamPromise(entry));
    received.push(content);
    t.notMatch(content, ana.id, entry.fileName);
    files++;
  }
  t.ok(files > 5);
});

t.test("no byte of what was hidden came to her", async (t) => {
  t.ok(received.length > 100);
  for (const secret of secrets) {
    const found = received.some((answer) => answer.includes(secret));
    t.notOk(found, `not ${secret}`);
  }
});

t.test("who is suspended or leaves is gone", async (t) => {
  await act(ana, "DELETE", "/users/eve/block");
  await act(ana, "PATCH", "/me", { is_private: false });
  await act(eve, "POST", "/users/ana/follow");
  const { body } = await eve.request("GET", "/users/ana/posts");
  for (const post of body.items) learn(post);
  t.ok(body.items.length >= 2);
  const { code } = await run(["users", "suspend", "ana"], service.env);
  t.equal(code, 0);
  assertHidden(t, await everything(), false);
  await run(["users", "unsuspend", "ana"], service.env);
  t.equal((await eve.request("GET", "/users/ana")).body.relationship.following, true, "and is back as she was");
  await act(ana, "DELETE", "/me", { password: ana.password });
  assertHidden(t, await everything(), false);
  // Ben is whom she follows still.
  await waitFor(
    async () => (await eve.request("GET", "/me")).body.following_count === 1,
    "what she left to be removed",
  );
  assertHidden(t, await everything(), false);
});
