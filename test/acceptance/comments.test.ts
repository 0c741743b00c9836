import { randomUUID } from "node:crypto";
import pg from "pg";
import t from "tap";
import type { Json, SignedIn } from "../support/client.ts";
import { exactly } from "../support/exactly.ts";
import { walk } from "../support/pages.ts";
import { picture } from "../support/pictures.ts";
import { waitFor } from "../support/server.ts";
import { publish, startService } from "../support/service.ts";

const service = await startService(t);
const { client } = service;
const sql = new pg.Pool({ connectionString: service.databaseUrl, max: 1 });
t.teardown(() => sql.end());
const photo = await picture({ width: 32, height: 32 });
const [ana, ben, cleo] = [await client.register("ana"), await client.register("ben"), await client.register("cleo")];

async function say(who: SignedIn, postId: string, text: string, parent_id?: string): Promise<Json> {
  const { status, body } = await who.request("POST", `/posts/${postId}/comments`, { json: { text, parent_id } });
  if (status !== 201) throw new Error(`${text}: ${status} ${JSON.stringify(body)}`);
  return body;
}

const statusOf = async (who: SignedIn, method: string, path: string, json?: unknown) =>
  (await who.request(method, path, { json })).status;
const list = async (who: SignedIn, path: string): Promise<Json[]> => (await who.request("GET", path)).body.items;
const texts = async (who: SignedIn, path: string) => (await list(who, path)).map(({ text }) => text);
const countOf = async (postId: string) => (await ana.request("GET", `/posts/${postId}`)).body.comment_count;

t.test("comments, replies and their order", async (t) => {
  const { id } = await publish(ana, [photo]);
  const first = await say(ben, id, " Lovely, @ana! #sunset 🌅 ");
  t.strictSame(first, {
    id: first.id,
    post_id: id,
    author: { id: ben.id, username: "ben", display_name: null, avatar_url: null },
    text: " Lovely, @ana! #sunset 🌅 ",
    entities: [
      { type: "mention", text: "@ana", start: 9, end: 13, tag: null, username: "ana" },
      { type: "hashtag", text: "#sunset", start: 15, end: 22, tag: "sunset", username: null },
    ],
    parent_id: null,
    reply_count: 0,
    like_count: 0,
    liked_by_me: false,
    created_at: first.created_at,
  });
  for (let n = 2; n <= 5; n++) await say(cleo, id, `c${n}`);
  const replies = [await say(ana, id, "r1", first.id)];
  replies.push(await say(cleo, id, "r2", replies[0].id));
  t.same(
    replies.map(({ parent_id }) => parent_id),
    [first.id, first.id],
    "a reply to a reply hangs below the same comment",
  );
  await say(ben, id, "r3", first.id);

  const path = `/posts/${id}/comments`;
  t.same(
    (await walk(cleo, path, 2)).map(({ text }) => text),
    ["c5", "c4", "c3", "c2", first.text],
  );
  t.same(
    (await walk(cleo, `/comments/${first.id}/replies`, 2)).map(({ text }) => text),
    ["r1", "r2", "r3"],
  );
  t.same((await list(cleo, path)).at(-1), { ...first, reply_count: 3 }, "as it was answered when it was written");
  t.same(await list(cleo, `/comments/${replies[0].id}/replies`), []);
  t.equal(await countOf(id), 8, "replies count");

  const once = { json: { text: "once" }, headers: { "idempotency-key": "once" } };
  const [made, repeated] = [await cleo.request("POST", path, once), await cleo.request("POST", path, once)];
  t.equal(repeated.headers.get("idempotent-replayed"), "true");
  t.strictSame(repeated.body, made.body);
  t.equal(await countOf(id), 9, "a repeat is no second comment");
});

t.test("what is refused", async (t) => {
  const [{ id }, other] = [await publish(ana, [photo]), await publish(ana, [photo])];
  const elsewhere = await say(ben, other.id, "elsewhere");
  const path = `/posts/${id}/comments`;
  const bodies: [json: unknown, status: number, code: string][] = [
    [{ text: "" }, 422, "COMMENT_EMPTY"],
    [{ text: " \n\u3000" }, 422, "COMMENT_EMPTY"],
    [{ text: "x".repeat(2201) }, 422, "INVALID_VALUE"],
    [{ text: "a\0b" }, 422, "INVALID_VALUE"],
    [{ text: "#a ".repeat(31) }, 422, "TOO_MANY_HASHTAGS"],
    [{}, 400, "INVALID_REQUEST"],
    [{ text: 7 }, 400, "INVALID_REQUEST"],
    [{ text: "x", parent_id: "nonsense" }, 404, "COMMENT_NOT_FOUND"],
    [{ text: "x", parent_id: randomUUID() }, 404, "COMMENT_NOT_FOUND"],
    [{ text: "x", parent_id: elsewhere.id }, 404, "COMMENT_NOT_FOUND"],
  ];
  for (const [json, status, code] of bodies) {
    const answer = await ben.request("POST", path, { json });
    t.match(answer, { status, body: { error: { code } } }, JSON.stringify(json).slice(0, 60));
  }
  t.equal((await say(ben, id, "🌅".repeat(2200), undefined)).text.length, 4400, "code points are counted");
  const capitals = await ben.request("POST", `/posts/${other.id.toUpperCase()}/comments`, {
    json: { text: "capitals", parent_id: elsewhere.id.toUpperCase() },
  });
  t.match(capitals, { status: 201, body: { parent_id: elsewhere.id } });
  t.equal(await statusOf(ben, "POST", `/comments/${capitals.body.id.toUpperCase()}/like`), 200);
  t.equal(await statusOf(ben, "DELETE", `/comments/${capitals.body.id.toUpperCase()}`), 204);
  for (const missing of [randomUUID(), "nonsense"]) {
    t.equal(await statusOf(ben, "POST", `/posts/${missing}/comments`, { text: "x" }), 404);
    t.equal(await statusOf(ben, "GET", `/posts/${missing}/comments`), 404);
    t.equal(await statusOf(ben, "DELETE", `/comments/${missing}`), 404);
    t.equal(await statusOf(ben, "GET", `/comments/${missing}/replies`), 404);
  }
  t.equal(await countOf(id), 1);
});

t.test("who deletes what, and what goes with it", async (t) => {
  const { id } = await publish(ana, [photo]);
  const [one, two] = [await say(ben, id, "one"), await say(ben, id, "two")];
  const reply = await say(cleo, id, "reply", one.id);
  await say(ana, id, "another", one.id);
  const drop = (who: SignedIn, comment: Json) => statusOf(who, "DELETE", `/comments/${comment.id}`);
  t.match(await cleo.request("DELETE", `/comments/${one.id}`), { body: { error: { code: "NOT_YOUR_COMMENT" } } });
  t.equal(await drop(ben, reply), 403, "not by the author of what it replies to");
  t.equal(await drop(cleo, reply), 204);
  t.equal(await drop(cleo, reply), 404);
  t.match(await list(ben, `/posts/${id}/comments`), exactly({ text: "two" }, { text: "one", reply_count: 1 }));
  t.equal(await countOf(id), 3);
  t.equal(await drop(ana, one), 204, "by the author of the post, with its replies");
  t.same(await texts(ben, `/posts/${id}/comments`), ["two"]);
  t.equal(await countOf(id), 1);
  t.equal(await drop(ben, two), 204);
  t.equal(await countOf(id), 0);
});

t.test("likes on comments", async (t) => {
  const { id } = await publish(ana, [photo]);
  const comment = await say(ben, id, "like me");
  const path = `/comments/${comment.id}/like`;
  const like = async (who: SignedIn, method: string) => (await who.request(method, path)).body;
  t.same(await like(ana, "DELETE"), { success: true, idempotent: true, like_count: 0 });
  t.same(await like(ana, "POST"), { success: true, idempotent: false, like_count: 1 });
  t.same(await like(ana, "POST"), { success: true, idempotent: true, like_count: 1 });
  t.same(await like(ben, "POST"), { success: true, idempotent: false, like_count: 2 });
  t.match(await list(ana, `/posts/${id}/comments`), exactly({ like_count: 2, liked_by_me: true }));
  t.match(await list(cleo, `/posts/${id}/comments`), exactly({ like_count: 2, liked_by_me: false }));
  t.same(await like(ana, "DELETE"), { success: true, idempotent: false, like_count: 1 });
});

t.test("an author closes the comments of a post", async (t) => {
  const { id } = await publish(ana, [photo]);
  const before = await say(ben, id, "before");
  await ana.request("PATCH", `/posts/${id}`, { json: { comments_closed: true } });
  for (const who of [ana, ben]) {
    const answer = await who.request("POST", `/posts/${id}/comments`, { json: { text: "x" } });
    t.match(answer, { status: 403, body: { error: { code: "COMMENTS_CLOSED" } } });
  }
  t.same(await texts(cleo, `/posts/${id}/comments`), ["before"], "what is there stays");
  t.equal(await statusOf(cleo, "POST", `/comments/${before.id}/like`), 200);
  t.equal(await statusOf(ben, "DELETE", `/comments/${before.id}`), 204);
  await ana.request("PATCH", `/posts/${id}`, { json: { comments_closed: false } });
  await say(ben, id, "again");
});

t.test("whom one blocks, who blocks one, and who vanished", async (t) => {
  const { id } = await publish(ana, [photo]);
  const [dan, eve] = [await client.register("dan"), await client.register("eve")];
  const root = await say(dan, id, "dan");
  const reply = await say(eve, id, "eve's reply", root.id);
  const below = await say(eve, id, "eve");
  const answer = await say(dan, id, "dan's reply", below.id);
  await dan.request("POST", "/users/eve/block");
  t.same(await texts(dan, `/posts/${id}/comments`), ["dan"]);
  t.same(await texts(eve, `/posts/${id}/comments`), ["eve"]);
  t.same(await texts(ana, `/posts/${id}/comments`), ["eve", "dan"]);
  t.same(await texts(dan, `/comments/${root.id}/replies`), []);
  for (const [who, hidden] of [
    [dan, below],
    [dan, reply],
    [dan, answer],
    [eve, root],
    [eve, reply],
    [eve, answer],
  ] as const) {
    for (const [method, rest] of [
      ["DELETE", ""],
      ["GET", "/replies"],
      ["POST", "/like"],
      ["DELETE", "/like"],
    ]) {
      t.equal(
        await statusOf(who, `${method}`, `/comments/${hidden.id}${rest}`),
        404,
        `${who.username}, ${hidden.text}`,
      );
    }
    t.equal(await statusOf(who, "POST", `/posts/${id}/comments`, { text: "x", parent_id: hidden.id }), 404);
  }
  const own = await publish(dan, [photo]);
  await dan.request("DELETE", "/users/eve/block");
  const abuse = await say(eve, own.id, "on dan's post");
  await dan.request("POST", "/users/eve/block");
  t.same(await texts(dan, `/posts/${own.id}/comments`), []);
  t.equal(await statusOf(dan, "POST", `/comments/${abuse.id}/like`), 404);
  t.equal(await statusOf(dan, "DELETE", `/comments/${abuse.id}`), 204, "a post's author deletes what others see there");
  t.same(await texts(ana, `/posts/${own.id}/comments`), []);
  await dan.request("DELETE", "/users/eve/block");
  t.same(await texts(dan, `/comments/${root.id}/replies`), ["eve's reply"]);

  await sql.query("UPDATE users SET state = 'suspended' WHERE username = 'eve'");
  t.same(await texts(ana, `/posts/${id}/comments`), ["dan"]);
  t.same(await texts(ana, `/comments/${root.id}/replies`), []);
  t.equal(await statusOf(ana, "GET", `/comments/${below.id}/replies`), 404);
});

t.test("a page goes on behind those who are not shown", async (t) => {
  const { id } = await publish(ana, [photo]);
  const spammer = await client.register("spammer");
  await say(ben, id, "the first");
  await sql.query(
    `INSERT INTO comments (id, post_id, user_id, text) SELECT gen_random_uuid(), $1, $2, 'spam' FROM generate_series(1, 1200)`,
    [id, spammer.id],
  );
  await say(ben, id, "the last");
  await sql.query("UPDATE users SET state = 'suspended' WHERE username = 'spammer'");
  const first = await ana.request("GET", `/posts/${id}/comments?limit=5`);
  t.match(first.body, { items: exactly({ text: "the last" }), next_cursor: String });
  t.equal(first.body.items.length, 1);
  t.same(
    (await walk(ana, `/posts/${id}/comments`, 5)).map(({ text }) => text),
    ["the last", "the first"],
  );
});

t.test("more than one transaction removes", async (t) => {
  const { id } = await publish(ana, [photo]);
  const [kept, root] = [await say(ben, id, "kept"), await say(ben, id, "root")];
  const busy = await say(cleo, id, "busy", root.id);
  await sql.query(
    `WITH replies AS (
       INSERT INTO comments (id, post_id, user_id, text, parent_id)
       SELECT gen_random_uuid(), $1, $2, 'reply', $3 FROM generate_series(1, 1700)
     ), counted AS (UPDATE comments SET reply_count = reply_count + 1700 WHERE id = $3)
     UPDATE comment_counts SET comment_count = comment_count + 1700 WHERE post_id = $1`,
    [id, cleo.id, root.id],
  );
  const left = async () =>
    Number((await sql.query("SELECT count(*) FROM comments WHERE post_id = $1", [id])).rows[0].count);
  t.equal(await countOf(id), 1703);
  t.equal(await statusOf(ben, "DELETE", `/comments/${root.id}`), 204);
  t.ok((await left()) > 2, "some rows are left to the job");
  t.equal(await countOf(id), 1);
  t.same(await texts(ana, `/posts/${id}/comments`), ["kept"]);
  for (const comment of [root, busy]) t.equal(await statusOf(cleo, "GET", `/comments/${comment.id}/replies`), 404);
  t.equal(await statusOf(ben, "POST", `/posts/${id}/comments`, { text: "x", parent_id: busy.id }), 404);
  t.equal(await statusOf(ben, "DELETE", `/comments/${root.id}`), 404);
  await waitFor(async () => (await left()) === 1, "the rest to go");

  t.equal(await statusOf(ana, "DELETE", `/posts/${id}`), 204);
  t.equal(await statusOf(ben, "GET", `/comments/${kept.id}/replies`), 404, "with the post all is gone at once");
  await waitFor(async () => (await left()) === 0, "the comments of the post to go");
});

t.test("an account takes its comments along, and leaves none behind", async (t) => {
  const { id } = await publish(ana, [photo]);
  const [fay, gus] = [await client.register("fay"), await client.register("gus")];
  const [root, other] = [await say(fay, id, "fay"), await say(gus, id, "gus")];
  await say(gus, id, "to fay", root.id);
  await say(fay, id, "to gus", other.id);
  await fay.request("POST", `/comments/${other.id}/like`);
  t.equal(await statusOf(fay, "DELETE", "/me", { password: fay.password }), 202);
  await waitFor(
    async () => (await sql.query("SELECT FROM users WHERE username = 'fay'")).rowCount === 0,
    "the account to be erased",
  );
  t.match(await list(ana, `/posts/${id}/comments`), exactly({ text: "gus", reply_count: 0, like_count: 0 }));
  t.equal(await countOf(id), 1);
});
