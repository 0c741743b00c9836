import { createHmac, randomBytes, randomUUID } from "node:crypto";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import pg from "pg";
import t from "tap";
import { type Answer, type Client, createClient, type Json, type SignedIn } from "../support/client.ts";
import { picture } from "../support/pictures.ts";
import { run, startServer, waitFor } from "../support/server.ts";
import { publish, startService } from "../support/service.ts";

const { client, databaseUrl, env, server } = await startService(t, { TINTYPE_LOG_LEVEL: "trace" });
const second = await startServer({ ...env, TINTYPE_WORKER_EMBEDDED: "false" });
t.teardown(() => second.stop());
const sql = new pg.Pool({ connectionString: databaseUrl, max: 1 });
t.teardown(() => sql.end());
const photo = await picture({ width: 60, height: 40 });

const WINDOW = 15 * 60_000;

async function newestKey(): Promise<{ id: number; secret: Buffer }> {
  return (await sql.query("SELECT id, secret FROM ticket_keys ORDER BY id DESC LIMIT 1")).rows[0];
}

/** A ticket as the documentation says it is made, by nothing of the product. @param windows from the one that is now. */
async function forge(viewerId: string, windows = 0, secret?: Buffer): Promise<string> {
  const key = await newestKey();
  const words = Buffer.from(Uint32Array.of(key.id, Math.floor(Date.now() / WINDOW) + windows).buffer).swap32();
  const signed = Buffer.concat([words, Buffer.from(viewerId.replaceAll("-", ""), "hex")]);
  const mac = createHmac("sha256", secret ?? key.secret).update(signed);
  return Buffer.concat([signed, mac.digest().subarray(0, 18)]).toString("base64url");
}

const get = (path: string, headers = {}) => client.request("GET", path, { headers });
const pathOf = (url: string) => new URL(url).pathname;
const ticketIn = (url: string) => new URL(url).searchParams.get("t");

async function registerAll<const Names extends readonly string[]>(...names: Names) {
  return (await Promise.all(names.map((name) => client.register(name)))) as { [Index in keyof Names]: SignedIn };
}

function act(by: Client, method: string, path: string, json?: unknown): Promise<Answer> {
  return by.request(method, path, json === undefined ? {} : { json });
}

const setPrivate = (by: Client, is_private: boolean) => act(by, "PATCH", "/me", { is_private });

async function setAvatar(by: Client): Promise<string> {
  const form = new FormData();
  form.append("file", new Blob([Uint8Array.from(photo)]), "me.jpg");
  await by.request("PUT", "/me/avatar", { form });
  return waitFor(async () => (await by.request("GET", "/me")).body.avatar_url, "the avatar");
}

/** All URLs of pictures in an answer. */
function urlsIn(body: Json): string[] {
  return JSON.stringify(body).match(/http[^"]+\/media\/[^"]+/g) ?? [];
}

t.test("a public account's URLs have no ticket, those of a private one all the same", async (t) => {
  const [ana, ben, cat] = await registerAll("ana", "ben", "cat");
  await setAvatar(ana);
  const { id } = await publish(ana, [photo, photo]);
  await publish(ana, [photo]);
  for (const by of [ben, cat]) await act(by, "POST", "/users/ana/follow");
  const urls = urlsIn((await ben.request("GET", "/feed")).body);
  t.equal(urls.length, 14, "three pictures of four sizes, and an avatar twice");
  t.notOk(urls.some((url) => url.includes("?")));

  await setPrivate(ana, true);
  const seen = new Map<string, string>();
  for (const by of [ana, ben, cat]) {
    const pages = ["/feed", "/users/ana/posts", `/posts/${id}`, "/users/ana", "/users/ben/following"];
    const answers = await Promise.all(
      [by, createClient(second.url, by.token)].flatMap((at) => pages.map((path) => at.request("GET", path))),
    );
    const tickets = new Set(answers.flatMap(({ body }) => urlsIn(body).map(ticketIn)));
    t.equal(tickets.size, 1, `one ticket for all that ${by.username} is shown, by any server`);
    const [ticket] = [...tickets];
    t.ok([await forge(by.id), await forge(by.id, -1)].includes(String(ticket)), "made as documented");
    seen.set(String(ticket), by.username);
    const url = urlsIn(answers[0]?.body)[0] ?? "";
    t.equal((await get(url)).status, 200);
    t.equal((await get(`${second.url}${pathOf(url)}?t=${ticket}`)).status, 200, "good at every server");
  }
  t.equal(seen.size, 3, "each viewer has their own");
});

t.test("who may see is decided when it is fetched, after every change", async (t) => {
  const [owner, follower, stranger, blocked, blocking] = await registerAll("owner", "fol", "str", "bloc", "blocky");
  const viewers = { owner, follower, stranger, blocked, blocking };
  for (const by of [follower, blocked, blocking]) await act(by, "POST", "/users/owner/follow");
  const avatar = pathOf(await setAvatar(owner));
  const post = await publish(owner, [photo]);
  const shown = pathOf(post.media[0].large_url);
  const good = await forge(follower.id);
  const wrong: Record<string, string> = {
    "no ticket": "",
    "an empty one": "?t=",
    altered: `?t=${good.slice(0, 30)}${good[30] === "A" ? "B" : "A"}${good.slice(31)}`,
    cut: `?t=${good.slice(0, -1)}`,
    longer: `?t=${good}A`,
    twice: `?t=${good}&t=${good}`,
    expired: `?t=${await forge(follower.id, -2)}`,
    "of the time to come": `?t=${await forge(follower.id, 2)}`,
    "of another key": `?t=${await forge(follower.id, 0, randomBytes(32))}`,
    "of nobody": `?t=${await forge(randomUUID())}`,
    "10 KB": `?t=${"A".repeat(10_240)}`,
    "an array": "?t[]=x&t[0]=y&t=",
    "NUL and worse": "?t=%00&t=%ff%fe&%00=%zz&=&t",
  };
  const missing = await get(`/media/${randomUUID()}/large.webp?t=${good}`);
  const plain = ({ body }: Answer) => JSON.stringify({ ...body.error, request_id: "" });

  /** Whom the picture of the post, and the avatar, must be given to, and nobody else. */
  const look = async (when: string, post: string, avatars: string, anybody = false) => {
    for (const [path, expected] of [
      [shown, post],
      [avatar, avatars],
    ] as const) {
      for (const [name, { id }] of Object.entries(viewers)) {
        const answer = await get(`${path}?t=${await forge(id)}`);
        const status = anybody || expected.split(" ").includes(name) ? 200 : 404;
        t.equal(answer.status, status, `${when}: ${path === shown ? "the post" : "the avatar"} for ${name}`);
        const cache = answer.headers.get("cache-control");
        t.equal(cache, status === 404 ? "no-store" : `${anybody ? "public" : "private"}, max-age=60`);
        if (status === 404) t.equal(plain(answer), plain(missing), "as if it were not there");
      }
      for (const [what, query] of Object.entries(wrong)) {
        const { status, headers } = await get(`${path}${query}`);
        t.equal(status, anybody ? 200 : 404, `${when}: ${what}`);
        t.equal(headers.get("cache-control"), anybody ? "public, max-age=60" : "no-store");
      }
    }
  };
  const ALL = Object.keys(viewers).join(" ");

  await look("public", ALL, ALL, true);
  await act(owner, "POST", "/users/bloc/block");
  await act(blocking, "POST", "/users/owner/block");
  await look("public, with blocks", ALL, ALL, true);
  await setPrivate(owner, true);
  const known = "owner follower stranger blocking";
  await look("private", "owner follower", known);
  await act(follower, "DELETE", "/users/owner/follow");
  await look("unfollowed", "owner", known);
  await act(follower, "POST", "/users/owner/follow");
  await look("asked to follow again", "owner", known);
  await act(owner, "POST", "/follow-requests/fol/approve");
  await look("approved", "owner follower", known);
  await act(owner, "DELETE", "/me/followers/fol");
  await look("removed as a follower", "owner", known);
  await act(follower, "POST", "/users/owner/follow");
  await act(owner, "POST", "/follow-requests/fol/approve");
  await act(owner, "POST", "/users/fol/block");
  await look("blocked", "owner", "owner stranger blocking");
  await act(owner, "DELETE", "/users/fol/block");
  await look("unblocked, which brings no follow back", "owner", known);
  await act(owner, "DELETE", "/users/bloc/block");
  await look("nobody is blocked by the owner", "owner", `${known} blocked`);
  await setPrivate(owner, false);
  await look("public again", ALL, ALL, true);
  await setPrivate(owner, true);
  await act(stranger, "POST", "/users/owner/follow");
  await act(owner, "POST", "/follow-requests/str/approve");
  await look("the stranger follows", "owner stranger", `${known} blocked`);

  const operator = async (command: string, name: string) => {
    const { code, stderr } = await run(["users", command, name, "--json"], env);
    t.equal(code, 0, `users ${command} ${name} ${stderr}`);
  };
  await operator("suspend", "str");
  await look("the viewer is suspended", "owner", "owner follower blocking blocked");
  await operator("unsuspend", "str");
  await operator("suspend", "owner");
  await look("the owner is suspended", "", "");
  await operator("unsuspend", "owner");
  await look("and back", "owner stranger", `${known} blocked`);
  t.equal((await act(stranger, "DELETE", "/me", { password: stranger.password })).status, 202);
  await look("the viewer has left", "owner", "owner follower blocking blocked");
  await act(owner, "DELETE", `/posts/${post.id}`);
  await look("the post is deleted", "", "owner follower blocking blocked");
  t.equal((await act(owner, "DELETE", "/me", { password: owner.password })).status, 202);
  await look("the owner has left", "", "");
});

t.test("no condition or range is looked at before the right to see", async (t) => {
  const [dan, eve] = await registerAll("dan", "eve");
  await act(eve, "POST", "/users/dan/follow");
  const { media } = await publish(dan, [photo]);
  const path = pathOf(media[0].small_url);
  await setPrivate(dan, true);
  const [mine, none] = [`${path}?t=${await forge(eve.id)}`, path];
  const etag = String((await get(mine)).headers.get("etag"));
  const asked: [headers: Record<string, string>, status: number][] = [
    [{ "if-none-match": etag }, 304],
    [{ "if-none-match": "*" }, 304],
    [{ range: "bytes=0-0" }, 206],
    [{ range: "bytes=999999999-" }, 416],
  ];
  for (const [headers, status] of asked) {
    const allowed = await get(mine, headers);
    t.match({ status: allowed.status, cache: allowed.headers.get("cache-control") }, { status, cache: /^private/ });
    const refused = await get(none, headers);
    t.match(
      { status: refused.status, cache: refused.headers.get("cache-control") },
      { status: 404, cache: "no-store" },
    );
    t.notOk(refused.headers.has("etag") || refused.headers.has("content-range"));
  }
  t.equal((await client.request("HEAD", mine)).status, 200);
  t.equal((await client.request("HEAD", none)).status, 404);
  t.equal((await eve.request("GET", none)).status, 404, "a token of the API is no ticket");
  await act(eve, "DELETE", "/users/dan/follow");
  for (const [headers] of asked) t.equal((await get(mine, headers)).status, 404);
});

t.test("keys are rotated while servers serve", async (t) => {
  const [fay] = await registerAll("fay");
  await setPrivate(fay, true);
  const { id } = await publish(fay, [photo]);
  const clients = [fay, createClient(second.url, fay.token)];
  const urlAt = async (at: Client) => String((await at.request("GET", `/posts/${id}`)).body.media[0].large_url);
  const keyOf = (url: string) => Buffer.from(String(ticketIn(url)), "base64url").readUInt32BE(0);
  const statuses = async (url: string) => {
    const { pathname, search } = new URL(url);
    return Promise.all(clients.map(async (at) => (await at.request("GET", pathname + search)).status));
  };
  const rotate = async (...flags: string[]) => {
    const { code, stdout } = await run(["keys", "rotate", "--json", ...flags], env);
    t.equal(code, 0);
    t.notMatch(stdout, (await newestKey()).secret.toString("hex"));
    return JSON.parse(stdout);
  };
  /** Waits for both, and meanwhile whatever URL is given out must be good at both. */
  const untilSignedWith = (key: number) =>
    waitFor(async () => {
      const urls = await Promise.all(clients.map(urlAt));
      for (const url of urls) t.same(await statuses(url), [200, 200]);
      return urls.every((url) => keyOf(url) === key);
    }, `both servers to sign with key ${key}`);

  const old = await urlAt(fay);
  const first = await rotate();
  t.match(first, { id: keyOf(old) + 1, retired: 1, revoked: false });
  t.same(await statuses(old), [200, 200]);
  await untilSignedWith(first.id);
  t.same(await statuses(old), [200, 200], "what was given out before stays good");

  const last = await rotate("--revoke");
  t.match(last, { retired: 2, revoked: true });
  for (const url of [old, await urlAt(fay)]) {
    if (keyOf(url) === last.id) continue;
    await waitFor(async () => (await statuses(url)).every((status) => status === 404), "the old ones to be refused");
  }
  await untilSignedWith(last.id);
  const listed = await run(["keys", "list", "--json"], env);
  t.equal(JSON.parse(listed.stdout).keys[0].id, last.id);
  t.notMatch(listed.stdout, /secret/);
});

t.test("tickets are in no log, and in the documentation", async (t) => {
  const [gus] = await registerAll("gus");
  await setPrivate(gus, true);
  const { media } = await publish(gus, [photo]);
  const url = new URL(media[0].large_url);
  const ticket = String(ticketIn(url.href));
  const send = async (head: string) => {
    const socket = connect(Number(url.port), url.hostname);
    socket.write(`${head}\r\n\r\n`);
    return text(socket);
  };
  t.match(await send(`GET ${url.pathname}?t=${ticket} HTTP/1.1\r\nHost: x\r\nConnection: close`), /^HTTP\/1.1 200/);
  t.match(await send(`GET ${url.pathname}?t=${ticket} HTTP/9`), /^HTTP\/1.1 400/);
  t.match(
    await send(`GET ${url.pathname}?t=${ticket} HTTP/1.1\r\nHost: x\r\nX: ${"x".repeat(20_000)}`),
    /^HTTP\/1.1 431/,
  );
  t.match(await send(`GET /media/%zz?t=${ticket} HTTP/1.1\r\nHost: x\r\nConnection: close`), /^HTTP\/1.1 400/);
  t.match(await send(`GET /nowhere?t=${ticket} HTTP/1.1\r\nHost: x\r\nConnection: close`), /^HTTP\/1.1 404/);
  const leaving = connect(Number(url.port), url.hostname);
  leaving.write(`GET ${url.pathname}?t=${ticket} HTTP/1.1\r\nHost: x\r\n\r\n`, () => leaving.destroy());
  await get(`${url.pathname}?t=${ticket}`);
  t.match(server.output(), /"path":"\/media\/:medium\/:file","status":200/, "requests are logged");
  t.match(server.output(), /not answered by a route/);
  const logged = server.output();
  t.notOk(logged.includes(ticket.slice(8)));
  // As the bytes of what was sent.
  t.notOk(logged.includes(JSON.stringify([...Buffer.from(ticket.slice(8))]).slice(1, -1)));

  const document: Json = await (await fetch(`${server.url}/openapi.json`)).json();
  const [described] = document.paths["/media/{medium}/{file}"].get.parameters.filter(
    (parameter: Json) => parameter.in === "query",
  );
  t.match(described, { name: "t", required: false, schema: { type: "string" }, description: /who is looking/ });
});
