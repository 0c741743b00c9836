import { readFile } from "node:fs/promises";
import pg from "pg";
import t from "tap";
import type { Answer } from "../support/client.ts";
import { testDatabase } from "../support/database.ts";
import { picture } from "../support/pictures.ts";
import { type Server, startServer, temporaryFolder } from "../support/server.ts";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

const database = await testDatabase(t);
const sql = new pg.Pool({ connectionString: database.url, max: 2 });
t.teardown(() => sql.end());
const env = {
  TINTYPE_DATABASE_URL: database.url,
  TINTYPE_DATA_DIR: await temporaryFolder(t),
  // The most talkative log, because this file also proves that no secret gets into it.
  TINTYPE_LOG_LEVEL: "trace",
};
const server: Server = await startServer(env);
t.teardown(() => server.stop());
const { client } = server;

function register(fields: object): Promise<Answer> {
  return client.request("POST", "/auth/register", { json: fields });
}

function logIn(login: string, password: string): Promise<Answer> {
  return client.request("POST", "/auth/login", { json: { login, password } });
}

/** Sends a body as it stands: what JSON.stringify would never write. */
function sendRaw(method: string, path: string, body: string, token?: string): Promise<Response> {
  return fetch(`${server.url}/api/v1${path}`, {
    method,
    headers: { "content-type": "application/json", ...(token ? { authorization: `Bearer ${token}` } : {}) },
    body,
  });
}

/** The named fields of an error answer. */
function fieldsOf(answer: Answer): string[] {
  return answer.body.error.details.fields.map((field: { field: string }) => field.field);
}

t.test("an account from registration to logout", async (t) => {
  const registered = await register({
    username: "Ana.B",
    email: "Ana.B@Example.org",
    password: "ana's long password",
    display_name: "Ana",
  });
  t.equal(registered.status, 201);
  const { user, token } = registered.body;
  t.match(user.id, UUID);
  t.match(user.created_at, TIME);
  t.strictSame(user, {
    id: user.id,
    username: "ana.b",
    display_name: "Ana",
    bio: null,
    avatar_url: null,
    is_private: false,
    email: "Ana.B@Example.org",
    email_confirmed: false,
    post_count: 0,
    follower_count: 0,
    following_count: 0,
    created_at: user.created_at,
  });
  t.ok(token.length >= 43, "256 bits of token");

  const tokens = new Set<string>([token]);
  for (const login of ["ana.b", "ANA.B", "ana.b@example.org", "ANA.B@EXAMPLE.ORG", " ana.b "]) {
    const answer = await logIn(login, "ana's long password");
    t.equal(answer.status, 200, `log in as "${login}"`);
    t.strictSame(answer.body.user, user);
    tokens.add(answer.body.token);
  }
  t.equal(tokens.size, 6, "each session has a token of its own");

  const ana = client.as(token);
  t.strictSame((await ana.request("GET", "/me")).body, user);
  const changed = await ana.request("PATCH", "/me", { json: { display_name: "Ana Bee", bio: "two\nlines" } });
  t.equal(changed.status, 200);
  t.strictSame(changed.body, { ...user, display_name: "Ana Bee", bio: "two\nlines" });
  t.strictSame((await ana.request("PATCH", "/me", { json: {} })).body, changed.body, "nothing named, nothing changed");
  t.strictSame(
    (await ana.request("PATCH", "/me", { json: { display_name: "  ", bio: null } })).body,
    { ...user, display_name: null, bio: null },
    "an empty text and null take a value away",
  );

  const bob = await client.register("bob");
  const profile = await bob.request("GET", "/users/ANA.b");
  t.equal(profile.status, 200);
  const { email: _email, email_confirmed: _confirmed, created_at: _created, ...seen } = { ...user, display_name: null };
  t.strictSame(
    profile.body,
    {
      ...seen,
      relationship: { following: false, requested: false, followed_by: false, blocking: false, muting: false },
    },
    "others see everything but the email",
  );
  const missing = await bob.request("GET", "/users/nobody.here");
  t.equal(missing.status, 404);
  t.equal(missing.body.error.code, "USER_NOT_FOUND");

  const loggedOut = await ana.request("POST", "/auth/logout");
  t.equal(loggedOut.status, 204);
  t.equal(loggedOut.bytes.length, 0);
  t.equal((await ana.request("GET", "/me")).status, 401, "the token is worth nothing");
  tokens.delete(token);
  for (const other of tokens) t.equal((await client.as(other).request("GET", "/me")).status, 200, "others stay");
});

t.test("who is not signed in gets a 401", async (t) => {
  const { token } = await client.register("carla");
  const headers = ["", "Bearer", "Bearer ", `Basic ${token}`, token, `Bearer ${token}x`, `Bearer ${token} x`];
  for (const authorization of headers) {
    for (const [method, path] of [
      ["GET", "/me"],
      ["GET", "/users/carla"],
      ["POST", "/users/carla/follow"],
      ["POST", "/auth/logout"],
      ["POST", "/posts"],
    ] as const) {
      const answer = await client.request(method, path, { headers: authorization ? { authorization } : {} });
      t.equal(answer.status, 401, `${method} ${path} with "${authorization.replace(token, "TOKEN")}"`);
      t.equal(answer.body.error.code, "UNAUTHENTICATED");
      t.match(answer.headers.get("www-authenticate"), /^Bearer/);
    }
  }
  t.equal((await client.request("GET", "/me", { headers: { authorization: `bearer ${token}` } })).status, 200);
});

/** The processor time that the server has used so far, in hundredths of a second: other work on the machine adds none. */
async function processorTime(): Promise<number> {
  const fields = (await readFile(`/proc/${server.pid}/stat`, "utf8")).split(") ")[1]?.split(" ") ?? [];
  return Number(fields[11]) + Number(fields[12]);
}

t.test("whoever cannot sign in gets one answer at one cost", async (t) => {
  const { password } = await client.register("dora");
  for (const state of ["suspended", "deleting"]) {
    await client.register(`dora.${state}`);
    await sql.query("UPDATE users SET state = $1, state_changed_at = now() WHERE username = $2", [
      state,
      `dora.${state}`,
    ]);
  }
  const costs: Record<string, number> = {};
  const bodies = new Set<string>();
  for (const login of ["dora", "dora.suspended", "dora.deleting", "nobody.at.all", "nobody@example.org"]) {
    const before = await processorTime();
    for (let round = 0; round < 30; round++) {
      const answer = await logIn(login, `${password}!`);
      t.equal(answer.status, 401);
      const { request_id: _id, ...error } = answer.body.error;
      bodies.add(JSON.stringify([error, answer.headers.get("www-authenticate")]));
    }
    costs[login] = (await processorTime()) - before;
  }
  t.equal(bodies.size, 1);
  const all = Object.values(costs);
  t.ok(Math.max(...all) < 2 * Math.min(...all), JSON.stringify(costs));
  t.equal((await logIn("dora.deleting", "the password of dora.deleting")).status, 401, "nor is a deletion told of");
});

t.test("a name and an email belong to one account, in any case", async (t) => {
  const password = "a long password";
  t.equal((await register({ username: "emil", email: "emil@example.org", password })).status, 201);
  for (const [username, email, code] of [
    ["emil", "other@example.org", "USERNAME_TAKEN"],
    ["EMIL", "other@example.org", "USERNAME_TAKEN"],
    ["emil2", "emil@example.org", "EMAIL_TAKEN"],
    ["emil2", "Emil@EXAMPLE.org", "EMAIL_TAKEN"],
  ] as const) {
    const answer = await register({ username, email, password });
    t.equal(answer.status, 409, `${username} ${email}`);
    t.equal(answer.body.error.code, code);
  }
  const race = await Promise.all(
    Array.from({ length: 12 }, (_, index) =>
      register({ username: index % 2 ? "Flora" : "flora", email: `flora${index}@example.org`, password }),
    ),
  );
  t.strictSame(
    race.map((answer) => answer.status).sort(),
    [201, ...Array(11).fill(409)],
    "of twelve at once one gets the name",
  );
});

t.test("what is wrong with a request is named, field by field", async (t) => {
  const right = { username: "gustav", email: "gustav@example.org", password: "a long password" };
  for (const [status, change, fields] of [
    [422, { username: "gu" }, ["username"]],
    [422, { username: "g".repeat(31) }, ["username"]],
    [422, { username: "gus tav" }, ["username"]],
    [422, { username: "güstav" }, ["username"]],
    [422, { email: "gustav" }, ["email"]],
    [422, { email: `${"g".repeat(250)}@example.org` }, ["email"]],
    [422, { password: "seven77" }, ["password"]],
    [422, { password: "p".repeat(257) }, ["password"]],
    [422, { display_name: "d".repeat(61) }, ["display_name"]],
    [422, { display_name: "two\nlines" }, ["display_name"]],
    [422, { username: "", email: "", password: "" }, ["username", "email", "password"]],
    [400, { username: 12 }, ["username"]],
    [400, { password: undefined }, ["password"]],
    [400, { email: null }, ["email"]],
    [400, { is_admin: true }, ["is_admin"]],
    [400, { username: ["gustav"] }, ["username"]],
  ] as const) {
    const answer = await register({ ...right, ...change });
    const said = JSON.stringify(change).slice(0, 60);
    t.equal(answer.status, status, said);
    t.equal(answer.body.error.code, status === 422 ? "INVALID_VALUE" : "INVALID_REQUEST");
    t.strictSame([...new Set(fieldsOf(answer))].sort(), [...fields].sort(), said);
    for (const field of fields) t.match(answer.body.error.message, field);
  }
  for (const body of ["", "{", "nonsense", '"text"', "[]", "null", '{"username":}']) {
    t.equal((await sendRaw("POST", "/auth/register", body)).status, 400, `the body ${body || "without anything"}`);
  }
  const hedwig = await client.register("hedwig");
  for (const [status, json] of [
    [422, { bio: "b".repeat(501) }],
    [400, { bio: 1 }],
    [400, { email: "new@example.org" }],
  ] as const) {
    t.equal((await hedwig.request("PATCH", "/me", { json })).status, status, JSON.stringify(json).slice(0, 60));
  }
  t.equal((await register(right)).status, 201, "and the right one is taken");
});

t.test("names in any script come back as they were written", async (t) => {
  const family = "👩‍👩‍👧‍👦";
  for (const [index, name] of [
    "Zoë Ångström",
    "ليلى العربي",
    "李小龍 🐉",
    `${family.repeat(8)}`,
    "ᚠᚢᚦᚨᚱᚲ",
    'O’Neill "quoted" <b>&amp; \\ \'; DROP TABLE users; --',
  ].entries()) {
    const made = await register({
      username: `script${index}`,
      email: `script${index}@bücher.example`,
      password: "пароль 密码 🔑",
      display_name: name,
    });
    t.equal(made.status, 201, name);
    const me = client.as(made.body.token);
    await me.request("PATCH", "/me", { json: { bio: `${name}\n${name}` } });
    const { body } = await me.request("GET", "/me");
    t.equal(body.display_name, name);
    t.equal(body.bio, `${name}\n${name}`);
    t.equal(body.email, `script${index}@bücher.example`);
    t.equal((await logIn(`script${index}`, "пароль 密码 🔑")).status, 200);
  }
  const composed = "Crème Brûlée été";
  const made = await register({ username: "ines", email: "ines@example.org", password: composed.normalize("NFD") });
  t.equal(made.status, 201);
  t.equal((await logIn("ines", composed.normalize("NFC"))).status, 200, "one password, however the keyboard types it");
});

t.test("NUL and halves of surrogate pairs are refused and never break anything", async (t) => {
  const jana = await client.register("jana");
  for (const bad of ["\\u0000", "a\\u0000b", "\\ud800", "\\udc00x", "\\ud83d", "\\udc00\\ud800"]) {
    const bodies: [string, string, string][] = [
      ["POST", "/auth/register", `{"username":"kurt${bad}","email":"kurt@example.org","password":"a long password"}`],
      ["POST", "/auth/register", `{"username":"kurt","email":"kurt${bad}@example.org","password":"a long password"}`],
      ["POST", "/auth/register", `{"username":"kurt","email":"kurt@example.org","password":"a long ${bad} password"}`],
      ["POST", "/auth/login", `{"login":"jana${bad}","password":"a long password"}`],
      ["PATCH", "/me", `{"display_name":"${bad}"}`],
      ["PATCH", "/me", `{"bio":"${bad}"}`],
    ];
    for (const [method, path, body] of bodies) {
      const answer = await sendRaw(method, path, body, jana.token);
      t.equal(answer.status, 422, `${method} ${path} ${body}`);
      await answer.arrayBuffer();
    }
  }
  for (const bad of [
    "%00",
    "jana%00",
    "%ED%A0%80",
    "%ff",
    "%c3%28",
    "%f0%9f",
    "%zz",
    "%",
    "%2e%2e%2f",
    "a".repeat(300),
  ]) {
    for (const path of [`/users/${bad}`, `/users/${bad}/followers`, `/users/${bad}/posts`, `/posts/${bad}`]) {
      const { status } = await jana.request("GET", path);
      t.ok([400, 404, 422].includes(status), `GET ${path.slice(0, 40)}: ${status}`);
    }
    for (const path of [`/users/jana/followers?cursor=${bad}`, `/users/jana/posts?limit=${bad}`, `/me?${bad}=${bad}`]) {
      const { status } = await jana.request("GET", path);
      t.ok(status < 500, `GET ${path.slice(0, 40)}: ${status}`);
    }
    const { status } = await jana.request("POST", `/users/${bad}/follow`);
    t.ok([400, 404, 422].includes(status), `follow ${bad.slice(0, 20)}: ${status}`);
    t.ok((await client.request("GET", `/media/${bad}/${bad}.webp`)).status < 500, `media ${bad.slice(0, 20)}`);
  }
  const form = (caption: string) => {
    const boundary = "tintype";
    const part = (name: string, value: string) =>
      `--${boundary}\r\ncontent-disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`;
    return fetch(`${server.url}/api/v1/posts`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${jana.token}`,
        "content-type": `multipart/form-data; boundary=${boundary}`,
      },
      body: `${part("caption", caption)}--${boundary}--\r\n`,
    });
  };
  t.equal((await form("a\0b")).status, 422, "a caption with NUL");
});

t.test("passwords are argon2id with OWASP's parameters, tokens are hashes", async (t) => {
  const { token, password } = await client.register("lena");
  const { rows } = await sql.query("SELECT password_hash FROM users WHERE username = 'lena'");
  const [, algorithm, version, parameters] = String(rows[0]?.password_hash).split("$");
  t.equal(algorithm, "argon2id");
  t.equal(version, "v=19");
  const cost = Object.fromEntries((parameters ?? "").split(",").map((pair) => pair.split("=")));
  t.ok(Number(cost.m) >= 19_456 && Number(cost.t) >= 2 && Number(cost.p) === 1, String(parameters));

  const tables = await sql.query<{ name: string }>(
    "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables WHERE schemaname IN ('public', 'pgboss')",
  );
  for (const { name } of tables.rows) {
    const found = await sql.query(`SELECT FROM ${name} AS row WHERE row::text LIKE ANY ($1)`, [
      [`%${token}%`, `%${Buffer.from(token).toString("hex")}%`, `%${password}%`],
    ]);
    t.equal(found.rowCount, 0, `${name} holds neither the token nor the password`);
  }
});

t.test("no token, password or email is in the log, whatever went wrong", async (t) => {
  const secrets = ["TOP-SECRET-PASSWORD", "secret.address", "TOP-SECRET-TOKEN", "TOP-SECRET-QUERY"];
  const fields = { username: "mona", email: "secret.address@example.org", password: "TOP-SECRET-PASSWORD" };
  const { token } = (await register(fields)).body;
  secrets.push(token);
  await register(fields);
  await register({ ...fields, username: "mona2" });
  await register({ ...fields, username: "!", extra: "TOP-SECRET-PASSWORD" });
  await logIn("secret.address@example.org", "TOP-SECRET-PASSWORD");
  await logIn("secret.address@example.org", "TOP-SECRET-PASSWORD, and wrong");
  await sendRaw("POST", "/auth/login", '{"login":"secret.address@example.org","password":"TOP-SECRET-PASSWORD"');
  await sendRaw(
    "POST",
    "/auth/login",
    '{"login":"secret.address@example.org","password":"TOP-SECRET-PASSWORD\\u0000"}',
  );
  await client.as("TOP-SECRET-TOKEN").request("GET", "/me?t=TOP-SECRET-QUERY");
  await client.as(token).request("GET", `/nowhere/at/all?t=TOP-SECRET-QUERY`);
  const before = server.output().length;
  const asMona = client.as(token);
  const form = new FormData();
  form.append("media", new Blob([Uint8Array.from(await picture({ width: 8, height: 8 }))]), "p.jpg");
  t.equal((await asMona.request("POST", "/posts", { form })).status, 202);
  t.ok(server.output().length > before, "the log is written");
  for (const secret of secrets) t.notOk(server.output().includes(secret), secret.slice(0, 20));
  t.notMatch(server.output(), /@example\.org|the password of/, "nor anything of those before");
});

t.test("a server that is closed to registrations says so and lets members in", async (t) => {
  const closed = await startServer({ ...env, TINTYPE_REGISTRATION: "closed" });
  t.teardown(() => closed.stop());
  const nina = { username: "nina", email: "nina@example.org", password: "a long password" };
  const answer = await closed.client.request("POST", "/auth/register", { json: nina });
  t.equal(answer.status, 403);
  t.equal(answer.body.error.code, "REGISTRATION_CLOSED");
  const { username, password } = await client.register("otto");
  t.equal((await closed.client.request("POST", "/auth/login", { json: { login: username, password } })).status, 200);
});
