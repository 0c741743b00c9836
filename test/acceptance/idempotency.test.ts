import { createHash, createHmac, randomUUID } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:net";
import pg from "pg";
import t from "tap";
import { type Answer, type Client, postForm, type RequestOptions, type SignedIn } from "../support/client.ts";
import { picture } from "../support/pictures.ts";
import { waitFor } from "../support/server.ts";
import { startService } from "../support/service.ts";
import { openUpload, uploadsStaged } from "../support/upload.ts";

const service = await startService(t, {
  TINTYPE_MEDIA_UPLOADS_PER_ACCOUNT: "8",
  TINTYPE_LIMITS_ENABLED: "true",
  TINTYPE_LIMITS_FOLLOW: "100/1h",
  TINTYPE_LIMITS_POST: "100/1h",
});
const sql = new pg.Pool({ connectionString: service.databaseUrl, max: 2 });
t.teardown(() => sql.end());
const [ana, bo] = await Promise.all([service.client.register("ana"), service.client.register("bob")]);
const [red, blue] = await Promise.all([picture({ width: 64, height: 64 }), picture({ width: 65, height: 65 })]);

/** POSTs with a key. */
function post(client: Client, path: string, key: string, options: RequestOptions = {}): Promise<Answer> {
  return client.request("POST", path, { ...options, headers: { ...options.headers, "idempotency-key": key } });
}

const isReplay = (answer: Answer) => answer.headers.get("idempotent-replayed") === "true";
const postsOf = async (author: SignedIn) =>
  (await sql.query("SELECT id FROM posts WHERE user_id = $1", [author.id])).rows.map(({ id }) => String(id));

t.test("an answer is given again, and nothing is done", async (t) => {
  const first = await post(ana, "/users/bob/follow", "follow-1");
  t.strictSame([first.status, first.body, isReplay(first)], [200, { status: "following" }, false]);
  await ana.request("DELETE", "/users/bob/follow", { headers: { "idempotency-key": "follow-1" } });
  const again = await post(ana, "/users/bob/follow", "follow-1");
  t.ok(isReplay(again));
  t.strictSame([again.status, again.bytes], [200, first.bytes]);
  t.equal(again.headers.get("content-type"), first.headers.get("content-type"));
  t.not(again.headers.get("x-request-id"), first.headers.get("x-request-id"), "but it is another request");
  const { relationship } = (await ana.request("GET", "/users/bob")).body;
  t.equal(relationship.following, false, "DELETE takes no key, and the POST was not done again");
  t.ok(isReplay(await post(ana, "/users/bob/follow?", '"follow-1"')), "a quoted key is the same");

  const password = { current_password: ana.password, new_password: "another long password" };
  t.equal((await post(ana, "/me/password", "password-1", { json: password })).status, 204);
  // A key that can be guessed, and what would be tried with each password then.
  const scope = "POST /api/v1/me/password\npassword-1";
  const { rows } = await sql.query("SELECT fingerprint FROM idempotency_keys WHERE scope = $1", [
    createHash("sha256").update(scope).digest(),
  ]);
  const quick = createHmac("sha256", scope)
    .update(`\n${JSON.stringify(password)}`)
    .digest();
  t.equal(rows.length, 1);
  t.notOk(quick.equals(rows[0].fingerprint), "what is stored of a password costs as much to guess as the password");
  const swapped = { new_password: password.new_password, current_password: password.current_password };
  const empty = await post(ana, "/me/password", "password-1", { json: swapped });
  t.strictSame([empty.status, empty.bytes.length, isReplay(empty)], [204, 0, true], "the order of fields says nothing");
  const other = { ...password, new_password: "a third long password" };
  const reused = await post(ana, "/me/password", "password-1", { json: other });
  t.strictSame([reused.status, reused.body.error.code, isReplay(reused)], [422, "IDEMPOTENCY_KEY_REUSED", false]);
});

t.test("the same upload is one post, another is refused", async (t) => {
  const send = (key: string, ...form: Parameters<typeof postForm>) =>
    post(ana, "/posts", key, { form: postForm(...form) });
  const first = await send("post-1", [red, blue], "a caption", ["one", "two"]);
  t.equal(first.status, 202);
  const again = await send("post-1", [red, blue], "a caption", ["one", "two"]);
  t.strictSame([again.status, again.bytes, isReplay(again)], [202, first.bytes, true]);
  for (const [what, answer] of [
    ["another caption", await send("post-1", [red, blue], "another", ["one", "two"])],
    ["no caption", await send("post-1", [red, blue], undefined, ["one", "two"])],
    ["another picture", await send("post-1", [red, red], "a caption", ["one", "two"])],
    ["another order", await send("post-1", [blue, red], "a caption", ["one", "two"])],
    ["a picture less", await send("post-1", [red], "a caption", ["one", "two"])],
    ["another order of texts", await send("post-1", [red, blue], "a caption", ["two", "one"])],
    ["no form", await post(ana, "/posts", "post-1", { json: { caption: "a caption" } })],
  ] as const) {
    t.strictSame([answer.status, answer.body.error.code], [422, "IDEMPOTENCY_KEY_REUSED"], what);
  }
  t.strictSame(await postsOf(ana), [first.body.post_id]);

  const refused = await send("post-2", [Buffer.from("no picture ".repeat(10_000)), red]);
  const refusedAgain = await send("post-2", [Buffer.from("no picture ".repeat(10_000)), red]);
  t.strictSame([refused.status, refusedAgain.status, refusedAgain.bytes], [415, 415, refused.bytes]);
  t.strictSame([isReplay(refused), isReplay(refusedAgain)], [false, true]);
  const mended = await send("post-2", [Buffer.from("no picture ".repeat(10_000)), blue]);
  t.equal(mended.body.error.code, "IDEMPOTENCY_KEY_REUSED", "also by what comes after the file that was refused");
  t.equal((await send("post-3", [], "only text")).body.error.code, "MEDIA_MISSING");
  t.ok(isReplay(await send("post-3", [], "only text")));
});

t.test("two at once", async (t) => {
  const cleo = await service.client.register("cleo");
  const upload = await openUpload(service.server.url, cleo.token, red, { "idempotency-key": "slow" });
  const large = Buffer.concat([red, Buffer.alloc(5 << 20)]);
  const second = await post(cleo, "/posts", "slow", { form: postForm([large]) });
  t.strictSame([second.status, second.body.error.code], [409, "IDEMPOTENCY_IN_PROGRESS"]);
  t.equal(second.headers.get("retry-after"), "1");
  const first = await upload.finish();
  t.equal(first.status, 202);
  t.strictSame(await postsOf(cleo), [first.body.post_id]);

  const answers = await Promise.all(
    Array.from({ length: 6 }, () => post(cleo, "/posts", "at-once", { form: postForm([blue]) })),
  );
  const taken = answers.filter(({ status }) => status === 202);
  t.strictSame(
    answers.map(({ status }) => status).filter((status) => status !== 202 && status !== 409),
    [],
  );
  t.equal(taken.filter((answer) => !isReplay(answer)).length, 1, "one did the work");
  const last = await post(cleo, "/posts", "at-once", { form: postForm([blue]) });
  t.strictSame(new Set(taken.map(({ body }) => body.post_id)), new Set([last.body.post_id]));
  t.equal((await postsOf(cleo)).length, 2);

  const left = await openUpload(service.server.url, cleo.token, red, { "idempotency-key": "left" });
  left.abort();
  await t.rejects(left.answer);
  const retried = await waitFor(async () => {
    const answer = await post(cleo, "/posts", "left", { form: postForm([red]) });
    return answer.status !== 409 && answer;
  }, "the key of an upload that was broken off");
  t.strictSame([retried.status, isReplay(retried)], [202, false]);
});

/**
 * Sends requests whose connections break while the server waits for a table, before any of them has read its body.
 * @param requests heads but for the first line's version, and what is sent of the body.
 */
async function breakOff(table: string, requests: readonly { path: string; headers: string[]; body: string }[]) {
  const { hostname, port } = new URL(service.server.url);
  const holder = await sql.connect();
  try {
    await holder.query(`BEGIN; LOCK TABLE ${table}`);
    const sockets = await Promise.all(
      requests.map(async ({ path, headers, body }) => {
        const socket = connect(Number(port), hostname);
        await once(socket, "connect");
        socket.write(`POST /api/v1${path} HTTP/1.1\r\nhost: x\r\n${headers.join("\r\n")}\r\n\r\n${body}`);
        return socket;
      }),
    );
    await waitFor(async () => {
      const { rows } = await sql.query(
        "SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
      );
      return rows[0].n >= requests.length;
    }, "all of them to wait");
    for (const socket of sockets) socket.resetAndDestroy();
    // What the server answers later it has begun later: by then it knows of the broken connections.
    for (let round = 0; round < 3; round++) await service.server.client.request("GET", "/healthz");
  } finally {
    await holder.query("COMMIT");
    holder.release();
  }
}

t.test("who goes away before the body is read leaves no key and no place taken", async (t) => {
  const gone = await service.client.register("gone");
  const json = ["content-type: application/json"];
  const form = ["content-type: multipart/form-data; boundary=x"];
  const cases = [
    { path: "/users/bob/follow", headers: [...json, "content-length: 20"], body: "" },
    { path: "/users/bob/follow", headers: [...json, "content-length: 2"], body: "{}" },
    { path: "/users/bob/follow", headers: [...json, "content-length: 0"], body: "" },
    { path: "/posts", headers: [...form, "content-length: 2000000"], body: "--x\r\n" },
  ].map(({ headers, ...rest }) => ({
    ...rest,
    headers: [...headers, `authorization: Bearer ${gone.token}`],
  }));
  /** Asked by refused requests, which take none for good. */
  const placesFree = () =>
    waitFor(async () => {
      const follow = await gone.request("POST", "/users/nobody/follow");
      const posted = await gone.request("POST", "/posts", { json: {} });
      const left = [follow, posted].map(({ headers }) => headers.get("x-ratelimit-remaining"));
      return left.every((places) => places === "100") && left;
    }, "all places to be given back");

  // Its token is new, so that the server has to ask for it.
  await breakOff("sessions", cases.slice(0, 1));
  t.ok(await placesFree(), "without a key");
  await breakOff(
    "idempotency_keys",
    cases.map((request, n) => ({ ...request, headers: [...request.headers, `idempotency-key: gone-${n}`] })),
  );
  t.ok(await placesFree(), "with a key");
  for (const [n, { path }] of cases.entries()) {
    const again = await post(gone, path, `gone-${n}`, path === "/posts" ? { form: postForm([red]) } : { json: {} });
    t.strictSame([again.status < 300, isReplay(again)], [true, false], `the key of ${n} is free`);
  }
});

t.test("what is refused for good is refused again, what is of the moment is not", async (t) => {
  const self = await post(ana, "/users/ana/follow", "self");
  const again = await post(ana, "/users/ana/follow", "self");
  t.strictSame([self.status, again.status, again.bytes, isReplay(again)], [422, 422, self.bytes, true]);
  t.equal(again.headers.get("cache-control"), "no-store");

  t.equal((await post(ana, "/users/dana/follow", "dana")).status, 404);
  await service.client.register("dana");
  const still = await post(ana, "/users/dana/follow", "dana");
  t.strictSame([still.status, isReplay(still)], [404, true], "the first answer, whatever has come since");
  t.equal((await post(ana, "/users/dana/follow", "dana, and there")).status, 400);
  t.equal((await post(ana, "/users/dana/follow", "dana-there")).status, 200);

  await ana.request("POST", "/users/dana/block");
  t.equal((await post(ana, "/users/dana/follow", "blocked")).body.error.code, "YOU_BLOCK");
  await ana.request("DELETE", "/users/dana/block");
  const mended = await post(ana, "/users/dana/follow", "blocked");
  t.strictSame([mended.status, isReplay(mended)], [200, false], "what one was told to mend is no answer for good");

  const unstorable = { json: { name: "a\0b" } };
  const nul = await post(ana, "/users/bob/follow", "nul", unstorable);
  const nulAgain = await post(ana, "/users/bob/follow", "nul", unstorable);
  t.strictSame([nul.body.error.code, nulAgain.bytes, isReplay(nulAgain)], ["INVALID_VALUE", nul.bytes, true]);
  for (const [key, options] of [
    ["nul", { json: { name: "ab" } }],
    ["self", unstorable],
  ] as const) {
    const path = key === "nul" ? "/users/bob/follow" : "/users/ana/follow";
    t.equal((await post(ana, path, key, options)).body.error.code, "IDEMPOTENCY_KEY_REUSED", key);
  }

  t.equal((await post(service.client, "/users/bob/follow", "401")).status, 401);
  t.notOk(isReplay(await post(ana, "/users/bob/follow", "401")));

  const uploads = await Promise.all(Array.from({ length: 8 }, () => openUpload(service.server.url, bo.token, red)));
  await waitFor(async () => (await uploadsStaged(service.dataDir)) === 8, "all places to be taken");
  t.equal((await post(bo, "/posts", "503", { form: postForm([red]) })).status, 503);
  await Promise.all(uploads.map((upload) => upload.finish()));
  const then = await post(bo, "/posts", "503", { form: postForm([red]) });
  t.strictSame([then.status, isReplay(then)], [202, false]);
});

t.test("a key is one account's, for one path", async (t) => {
  const key = randomUUID();
  await service.client.register("eve");
  for (const [client, path] of [
    [ana, "/users/eve/follow"],
    [bo, "/users/eve/follow"],
    [ana, "/users/eve/mute"],
    [ana, "/users/dana/follow"],
  ] as const) {
    const first = await post(client, path, key);
    t.strictSame([first.status, isReplay(first)], [200, false], path);
    t.ok(isReplay(await post(client, path, key)));
  }
  const unobserved = service.server.client.as(ana.token);
  t.ok(isReplay(await post(unobserved, "/users/eve/mute/", key)), "a slash at the end is no other path");
  t.equal((await post(ana, "/users/eve/mute?really=1", key)).status, 422, "another query is another request");

  const { status, headers } = await ana.request("GET", "/me", { headers: { "idempotency-key": key.repeat(10) } });
  t.strictSame([status, headers.has("idempotent-replayed")], [200, false]);
  for (const wrong of ["", "two words", "x".repeat(256), '"open', "ü"]) {
    t.equal((await post(ana, "/users/eve/mute", wrong)).body.error?.code, "INVALID_REQUEST", JSON.stringify(wrong));
  }
  t.equal((await post(ana, "/users/eve/mute", "x".repeat(255))).status, 200);
  t.equal((await post(ana, `/users/${"x".repeat(9000)}/mute`, key)).status, 404, "a path of any length");
});

t.test("24 hours", async (t) => {
  const form = () => postForm([blue], "for a day");
  const first = await post(bo, "/posts", "day", { form: form() });
  const age = (interval: string) =>
    sql.query(
      `UPDATE idempotency_keys SET held_until = held_until - $2::interval, created_at = created_at - $2::interval
       WHERE user_id = $1`,
      [bo.id, interval],
    );
  await age("23 hours 55 minutes");
  t.strictSame((await post(bo, "/posts", "day", { form: form() })).bytes, first.bytes);
  await age("5 minutes");
  const next = await post(bo, "/posts", "day", { form: form() });
  t.strictSame([next.status, isReplay(next)], [202, false]);
  t.not(next.body.post_id, first.body.post_id);
  t.strictSame((await post(bo, "/posts", "day", { form: form() })).bytes, next.bytes);

  await sql.query("INSERT INTO pgboss.job (name, data) VALUES ('idempotency.sweep', '{}')");
  await waitFor(async () => {
    const { rows } = await sql.query("SELECT count(*)::int AS n FROM idempotency_keys WHERE user_id = $1", [bo.id]);
    return rows[0].n === 1;
  }, "what is over to be swept, and nothing else");
  t.ok(isReplay(await post(bo, "/posts", "day", { form: form() })));
});

t.test("nothing is left of an account that is deleted", async (t) => {
  const finn = await service.client.register("finn");
  await post(finn, "/users/bob/follow", "finn");
  t.equal((await finn.request("DELETE", "/me", { json: { password: finn.password } })).status, 202);
  t.equal((await post(finn, "/users/bob/follow", "finn")).status, 401);
  await waitFor(async () => {
    const { rows } = await sql.query(
      "SELECT (SELECT count(*) FROM users WHERE id = $1) + (SELECT count(*) FROM idempotency_keys WHERE user_id = $1) AS n",
      [finn.id],
    );
    return Number(rows[0].n) === 0;
  }, "the account to be gone");
});

t.test("the documentation names the header where it is taken", async (t) => {
  const { paths } = (await service.server.client.request("GET", "/openapi.json")).body;
  const takes = (path: string, method: string) =>
    (paths[`/api/v1${path}`][method].parameters ?? []).some(
      (parameter: { in: string; name: string }) => parameter.in === "header" && parameter.name === "idempotency-key",
    );
  t.ok(takes("/posts", "post"));
  t.ok(takes("/users/{username}/follow", "post"));
  t.notOk(takes("/users/{username}/follow", "delete"));
  t.notOk(takes("/auth/login", "post"));
  t.notOk(takes("/auth/logout", "post"));
});
