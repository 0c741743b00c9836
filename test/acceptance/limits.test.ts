import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import t from "tap";
import type { Answer, Client, RequestOptions, SignedIn } from "../support/client.ts";
import { createClient, postForm } from "../support/client.ts";
import { exactly } from "../support/exactly.ts";
import { picture } from "../support/pictures.ts";
import { run, startServer } from "../support/server.ts";
import { startService } from "../support/service.ts";
import { redisService } from "../support/services.ts";

const service = await startService(t, {
  TINTYPE_LIMITS_ENABLED: "true",
  TINTYPE_LIMITS_FOLLOW: "4/3s",
  TINTYPE_LIMITS_POST: "3/1h",
  TINTYPE_LIMITS_LOGIN: "5/1h",
  TINTYPE_LIMITS_LOGIN_ACCOUNT: "8/1h",
  TINTYPE_LIMITS_PASSWORD: "5/1h",
  TINTYPE_LIMITS_REGISTRATION: "3/1h",
  TINTYPE_LIMITS_SEARCH: "0",
  TINTYPE_LIMITS_UPLOAD: "100kb/1h",
  TINTYPE_HTTP_TRUST_PROXY: "127.0.0.1",
  TINTYPE_HTTP_CORS_ORIGINS: "https://app.example.org",
});
const { client } = service;

let addresses = 0;
const newAddress = () => `203.0.${Math.floor(addresses / 250)}.${(addresses++ % 250) + 1}`;

function logIn(login: string, password: string, address: string): Promise<Answer> {
  return client.request("POST", "/auth/login", { json: { login, password }, headers: { "x-forwarded-for": address } });
}

const limitHeaders = ({ headers }: Answer) =>
  ["limit", "remaining", "reset"].map((name) => {
    const value = headers.get(`x-ratelimit-${name}`);
    return value === null ? null : Number(value);
  });

async function refusals(action: string): Promise<number> {
  const { bytes } = await client.request("GET", "/metrics");
  const line = new RegExp(`^instagram_rate_limit_hits_total\\{action="${action}"\\} (\\d+)$`, "m").exec(`${bytes}`);
  return Number(line?.[1] ?? 0);
}

t.test("what was done counts, also again; what is undone or refused does not", async (t) => {
  const ana = await client.register("ana");
  await client.register("bob");
  const before = Math.floor(Date.now() / 1000);
  const first = await ana.request("POST", "/users/bob/follow");
  t.equal(first.status, 200);
  const [limit, remaining, reset = 0] = limitHeaders(first);
  t.same([limit, remaining], [4, 3]);
  t.ok(reset !== null && reset >= before + 3 && reset <= Date.now() / 1000 + 4, "when the first is free again");
  const gone = await ana.request("POST", "/users/nobody/follow");
  t.equal(gone.status, 404);
  t.same(limitHeaders(gone).slice(0, 2), [4, 3], "told of errors too, and not counted");
  const undone = await ana.request("DELETE", "/users/bob/follow");
  t.same(limitHeaders(undone), [null, null, null]);
  t.same(limitHeaders(await ana.request("POST", "/users/bob/follow")).slice(0, 2), [4, 2]);
  t.same(limitHeaders(await ana.request("POST", "/users/bob/follow")).slice(0, 2), [4, 1], "so already, and counted");

  const answers = await Promise.all(Array.from({ length: 8 }, () => ana.request("POST", "/users/bob/follow")));
  t.equal(answers.filter(({ status }) => status === 200).length, 1, "one was left");
  const refused = answers.find(({ status }) => status === 429);
  const wait = Number(refused?.headers.get("retry-after"));
  t.ok(Number.isInteger(wait) && wait >= 1 && wait <= 3, `${wait} s to wait`);
  t.match(refused?.body.error, { code: "RATE_LIMITED", details: { retry_after: wait } });
  t.equal(refused && limitHeaders(refused)[1], 0);
  t.equal(await refusals("follow"), 7);
  await delay(wait * 1000);
  t.equal((await ana.request("POST", "/users/bob/follow")).status, 200, "then it goes");

  const fromBrowser = await ana.request("POST", "/users/bob/follow", {
    headers: { origin: "https://app.example.org" },
  });
  t.match(
    fromBrowser.headers.get("access-control-expose-headers"),
    /retry-after.*x-ratelimit-limit.*-remaining.*-reset/,
  );
  t.same(limitHeaders(await ana.request("GET", "/search/users?q=bob")), [null, null, null], "0 switches one off");
  t.equal((await client.request("POST", "/users/bob/follow")).status, 401);
});

t.test("an answer that is given again takes no place", async (t) => {
  const bea = await client.register("bea");
  const noKey = await bea.request("POST", "/users/ana/follow", { headers: { "idempotency-key": "a key" } });
  t.same([noKey.status, ...limitHeaders(noKey).slice(0, 2)], [400, 4, 4], "told also where no place was asked for");
  const follow = (key: string) => bea.request("POST", "/users/ana/follow", { headers: { "idempotency-key": key } });
  t.same(limitHeaders(await follow("one")).slice(0, 2), [4, 3]);
  for (let time = 0; time < 5; time++) {
    const again = await follow("one");
    t.equal(again.headers.get("idempotent-replayed"), "true");
    t.same([again.status, ...limitHeaders(again).slice(0, 2)], [200, 4, 3]);
  }
  const answers = await Promise.all(["two", "three", "four", "five"].map(follow));
  t.same(answers.map(({ status }) => status).sort(), [200, 200, 200, 429]);
  const refused = ["two", "three", "four", "five"][answers.findIndex(({ status }) => status === 429)] ?? "";
  await delay(3_000);
  t.equal((await follow(refused)).status, 200, "and a refusal is not given again");
});

t.test("uploads: how many, and how many bytes", async (t) => {
  const cleo = await client.register("cleo");
  const small = await picture({ width: 16, height: 16 });
  const post = (pictures: Buffer[], options?: RequestOptions) =>
    cleo.request("POST", "/posts", { form: postForm(pictures), ...options });
  t.equal((await post([Buffer.from("no picture")])).status, 415);
  const posted = await post([small]);
  t.same([posted.status, ...limitHeaders(posted).slice(0, 2)], [202, 3, 2]);

  const large = Buffer.concat([small, Buffer.alloc(60_000)]);
  t.equal((await cleo.request("PUT", "/me/avatar", { form: avatarForm(large) })).status, 200);
  const tooMuch = await post([large]);
  t.equal(tooMuch.status, 429, "60 and 60 kb are more than 100");
  t.equal(tooMuch.body.error.details.limit, "upload");
  t.ok(tooMuch.body.error.details.retry_after > 3_500);
  const never = await cleo.request("PUT", "/me/avatar", { form: avatarForm(Buffer.alloc(200_000)) });
  t.same([never.status, limitHeaders(never)[0]], [413, 102_400]);
  t.same(limitHeaders(await post([small])).slice(0, 2), [3, 1], "what was refused took none of either limit");

  const keyed = (pictures: Buffer[]) => post(pictures, { headers: { "idempotency-key": "cleo" } });
  const kept = await keyed([small]);
  t.equal(kept.status, 202);
  const repeated = await keyed([small]);
  t.same([repeated.status, ...limitHeaders(repeated).slice(0, 2)], [202, 3, 0], "a repeat is no further post");
  const other = Buffer.concat([small, Buffer.alloc(22_000)]);
  t.equal((await keyed([other])).status, 422, "it is read to its end to be told from the first");
  const again = await keyed([other]);
  t.same([again.status, again.body.error.details.limit], [429, "upload"], "and that counts as bytes that came");
  const { socket, heard } = await speak();
  const head = `POST /api/v1/posts HTTP/1.1\r\nhost: test\r\nauthorization: Bearer ${cleo.token}\r\ncontent-type: multipart/form-data; boundary=x\r\n`;
  socket.write(`${head}content-length: 20000\r\n\r\n`);
  await heard(/^HTTP\/1.1 429 /, "before anything of the body has come");
  socket.write(Buffer.alloc(20_000));
  socket.write("GET /healthz HTTP/1.1\r\nhost: test\r\n\r\n");
  await heard(/HTTP\/1.1 200 /, "and the connection is good for the next request when it has");
  socket.destroy();
});

function avatarForm(file: Buffer): FormData {
  const form = new FormData();
  form.append("file", new Blob([Uint8Array.from(file)]), "a.png");
  return form;
}

/** A connection to the server. */
async function speak() {
  const { hostname, port } = new URL(service.server.url);
  const socket = connect(Number(port), hostname);
  await once(socket, "connect");
  let text = "";
  socket.on("data", (chunk) => {
    text += chunk;
  });
  const heard = async (pattern: RegExp, what: string) => {
    while (!pattern.test(text)) await once(socket, "data");
    t.pass(what);
  };
  return { socket, heard };
}

t.test("wrong passwords, by address", async (t) => {
  const dora = await client.register("dora");
  const [address, other] = [newAddress(), newAddress()];
  t.equal((await logIn("dora", dora.password, other)).status, 200, "she has been there");
  for (const [index, login] of ["dora", "DORA", "nobody.here", "dora@example.org"].entries()) {
    const wrong = await logIn(login, "not her password", address);
    t.same([wrong.status, wrong.body.error.code], [401, "WRONG_CREDENTIALS"]);
    t.same(limitHeaders(wrong).slice(0, 2), [5, 4 - index]);
  }
  const right = await logIn("dora", dora.password, address);
  t.same([right.status, ...limitHeaders(right).slice(0, 2)], [200, 5, 1], "what is right does not count");
  const malformed = await client.request("POST", "/auth/login", { json: {}, headers: { "x-forwarded-for": address } });
  t.same([malformed.status, ...limitHeaders(malformed).slice(0, 2)], [400, 5, 1]);
  t.equal((await logIn("dora", "wrong again", `::ffff:${address}`)).status, 401, "the same, in IPv6's writing");
  const refused = await logIn("dora", dora.password, address);
  t.same([refused.status, refused.body.error.code, limitHeaders(refused)[1]], [429, "RATE_LIMITED", 0]);
  t.equal((await logIn("nobody.here", "whatever", address)).status, 429, "nor for anybody else from there");
  t.equal((await logIn("dora", dora.password, other)).status, 200, "and from elsewhere she comes in");

  const network = (host: number) => `2001:db8:0:7::${host.toString(16)}`;
  for (let host = 1; host <= 5; host++) t.equal((await logIn("dora", "wrong", network(host))).status, 401);
  t.equal((await logIn("nobody.else", "wrong", network(99))).status, 429, "a /64 is one address");
});

t.test("at the same time no more can be wrong, and all who are right come in", async (t) => {
  const eva = await client.register("eva");
  const address = newAddress();
  const right = await Promise.all(Array.from({ length: 20 }, () => logIn("eva", eva.password, address)));
  t.same(new Set(right.map(({ status }) => status)), new Set([200]));
  const wrong = await Promise.all(Array.from({ length: 20 }, () => logIn("eva", "wrong", address)));
  t.equal(wrong.filter(({ status }) => status === 401).length, 5);
  t.equal(wrong.filter(({ status }) => status === 429).length, 15);
});

t.test("from many addresses one account is guessed at no faster, and its owner is not locked out", async (t) => {
  const finn = await client.register("finn");
  const [home, work] = [newAddress(), newAddress()];
  t.equal((await logIn("finn", finn.password, home)).status, 200);
  t.equal((await finn.request("GET", "/me", { headers: { "x-forwarded-for": work } })).status, 200);
  const attack = async (login: string) => {
    const answers = [];
    for (let index = 0; index < 10; index++) answers.push(await logIn(login, `guess ${index}`, newAddress()));
    const seen = answers.map((answer) => [answer.status, ...limitHeaders(answer).slice(0, 2)]);
    t.equal(answers.filter(({ status }) => status === 401).length, 8);
    t.same(answers.at(-1)?.status, 429);
    return seen;
  };
  const known = await attack("finn");
  t.same(await attack("nobody.at.all"), known, "a name that is nobody's is answered in the same way");
  t.equal((await logIn("finn", finn.password, home)).status, 200, "where he has been he comes in");
  t.equal((await logIn("finn", "a slip", home)).status, 401, "and is told of a slip");
  t.equal((await logIn("finn", finn.password, work)).status, 200, "where he used a session too");
  t.equal((await logIn("finn", finn.password, newAddress())).status, 429, "from elsewhere only later");
  t.equal((await finn.request("GET", "/me")).status, 200, "who is signed in stays so");

  const { stdout } = await run(["users", "reset-password", "finn", "--json"], service.env);
  const token = new URL(JSON.parse(stdout).url).searchParams.get("token");
  const elsewhere = { "x-forwarded-for": newAddress() };
  const json = { token, new_password: "another password of finn" };
  const changed = await client.request("POST", "/auth/password/reset/confirm", { json, headers: elsewhere });
  t.equal(changed.status, 204);
  const back = await logIn("finn", json.new_password, elsewhere["x-forwarded-for"]);
  t.equal(back.status, 200, "but who has used a mailed link comes in from there");
  t.equal((await logIn("finn", json.new_password, work)).status, 429, "where the old one was used is a place like any");
});

t.test("whoever holds a session cannot guess the password with it, nor keep the owner from changing it", async (t) => {
  const gina = await client.register("gina");
  const address = newAddress();
  const thief = client.as((await logIn("gina", gina.password, address)).body.token);
  const change = (session: Client, current_password: string) =>
    session.request("POST", "/me/password", { json: { current_password, new_password: "a new one of gina" } });
  for (let index = 0; index < 4; index++) t.equal((await change(thief, `guess ${index}`)).status, 403);
  t.equal((await thief.request("DELETE", "/me", { json: { password: "guess" } })).status, 403);
  const refused = await change(thief, gina.password);
  t.same([refused.status, ...limitHeaders(refused).slice(0, 2)], [429, 5, 0]);
  t.equal((await thief.request("DELETE", "/me", { json: { password: gina.password } })).status, 429);
  const json = { current_password: gina.password, new_password: "a new one of gina" };
  const again = (current_password: string) =>
    gina.request("POST", "/me/password", {
      json: { ...json, current_password },
      headers: { "idempotency-key": "gina-1" },
    });
  t.equal((await again(gina.password)).status, 204);
  for (let index = 0; index < 5; index++) t.equal((await again(`guess ${index}`)).status, 422);
  t.equal((await again(gina.password)).status, 429, "nor by the key of a request that had it right");
});

t.test("new accounts, by address", async (t) => {
  const address = newAddress();
  const register = (name: string, from = address) =>
    client.request("POST", "/auth/register", {
      json: { username: name, email: `${name}@example.org`, password: "a long password" },
      headers: { "x-forwarded-for": from },
    });
  t.same(limitHeaders(await register("hal")).slice(0, 2), [3, 2]);
  const taken = await register("hal");
  t.same([taken.status, ...limitHeaders(taken).slice(0, 2)], [409, 3, 1], "to be told who is here counts");
  t.equal((await register("no")).status, 422);
  const form = new URLSearchParams({ username: "hana", email: "hana@example.org", password: "a long password" });
  const page = () =>
    fetch(`${service.server.url}/account/register`, {
      method: "POST",
      body: form,
      headers: { "x-forwarded-for": address },
    });
  t.equal((await page()).status, 201);
  t.equal((await register("hector")).status, 429);
  const refused = await page();
  t.equal(refused.status, 429, "the page for browsers too");
  t.match(refused.headers.get("content-type"), /html/);
  t.ok(Number(refused.headers.get("retry-after")) > 0);
  t.equal((await register("hector", newAddress())).status, 201);
});

t.test("an operator resets limits of a server without Redis, and doctor counts the servers", async (t) => {
  const ivo: SignedIn = await client.register("ivo");
  const follow = () => ivo.request("POST", "/users/ana/follow");
  for (let index = 0; index < 4; index++) await follow();
  t.equal((await follow()).status, 429);
  const env = { ...service.env, TINTYPE_LIMITS_FOLLOW: "4/1h" };
  const shown = await run(["limits", "show", "ivo", "--json"], env);
  t.equal(shown.code, 3, "what is in the server's memory cannot be shown");
  t.equal((await run(["limits", "reset", "ivo", "--action", "nothing"], env)).code, 2);
  const reset = await run(["limits", "reset", "ivo", "--json"], env);
  t.equal(reset.code, 0);
  t.ok(JSON.parse(reset.stdout).reset.includes("follow"));
  t.equal((await follow()).status, 200);

  const doctor = async (which = "limits", settings: Record<string, string> = {}) => {
    const { stdout } = await run(["doctor", "--json"], { ...service.env, ...settings });
    return JSON.parse(stdout).checks.find(({ name }: { name: string }) => name === which);
  };
  const published = { TINTYPE_PUBLIC_URL: "https://photos.example.org", TINTYPE_HTTP_TRUST_PROXY: "" };
  t.match(await doctor("proxy", published), { state: "warning", message: /TINTYPE_HTTP_TRUST_PROXY/ });
  t.match(await doctor(), { state: "ok" });
  t.equal((await run(["limits", "reset", "ivo"], { ...env, TINTYPE_LIMITS_ENABLED: "false" })).code, 2);
  const second = await startServer(service.env);
  t.match(await doctor(), { state: "warning", message: /^2 servers share this database/ });
  await second.stop();
});

t.test("with Redis, behind a proxy that nobody named", async (t) => {
  const redis = await redisService(t);
  if (!redis) return;
  const env = {
    ...service.env,
    TINTYPE_REDIS_URL: redis.url,
    TINTYPE_REDIS_KEY_PREFIX: redis.prefix,
    TINTYPE_LIMITS_FOLLOW: "4/1h",
    TINTYPE_HTTP_TRUST_PROXY: "",
  };
  const server = await startServer(env);
  t.teardown(() => server.stop());
  const shared = createClient(server.url);
  const jana = await shared.register("jana");
  const follow = (name: string) => jana.request("POST", `/users/${name}/follow`);
  t.same(limitHeaders(await follow("ana")).slice(0, 2), [4, 3]);
  const gone = await follow("nobody");
  t.same([gone.status, ...limitHeaders(gone).slice(0, 2)], [404, 4, 3]);
  const json = { login: "jana", password: jana.password };
  for (const address of [newAddress(), newAddress()]) {
    const headers = { "x-forwarded-for": address };
    const right = await shared.request("POST", "/auth/login", { json, headers });
    t.same([right.status, ...limitHeaders(right).slice(0, 2)], [200, 5, 5], "what is right does not count");
  }
  t.equal(server.output().split("TINTYPE_HTTP_TRUST_PROXY").length, 2, "it is said once");

  const wrong = await jana.request("POST", "/me/password", {
    json: { current_password: "wrong", new_password: "a new one of jana" },
  });
  t.equal(wrong.status, 403);
  const show = async (...who: string[]) => {
    const { limits } = JSON.parse((await run(["limits", "show", ...who, "--json"], env)).stdout);
    return limits.filter(({ used }: { used: number }) => used > 0);
  };
  t.match(
    await show("jana"),
    exactly({ limit: "follow", of: null, most: 4, used: 1, remaining: 3 }, { limit: "password", of: String, used: 1 }),
  );
  t.same(await show("--address", "127.0.0.1"), []);
  t.equal((await run(["limits", "reset", "jana", "--json"], env)).code, 0);
  t.same(await show("jana"), []);
  t.same(limitHeaders(await follow("ana")).slice(0, 2), [4, 3]);
});
