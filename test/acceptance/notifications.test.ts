import pg from "pg";
import t from "tap";
import type { Json, SignedIn } from "../support/client.ts";
import { walk } from "../support/pages.ts";
import { picture } from "../support/pictures.ts";
import { run, waitFor } from "../support/server.ts";
import { publish, startService } from "../support/service.ts";

const service = await startService(t);
const { client } = service;
const sql = new pg.Pool({ connectionString: service.databaseUrl, max: 1 });
t.teardown(() => sql.end());
const photo = await picture({ width: 40, height: 30 });

let made = 0;
async function register(...names: string[]): Promise<SignedIn[]> {
  const suffix = made++;
  return Promise.all(names.map((name) => client.register(`${name}${suffix}`)));
}

async function ok(who: SignedIn, method: string, path: string, json?: unknown): Promise<Json> {
  const { status, body, bytes } = await who.request(method, path, json === undefined ? {} : { json });
  if (status >= 300) throw new Error(`${method} ${path}: ${status} ${bytes}`);
  return body;
}

const list = (who: SignedIn): Promise<Json[]> => walk(who, "/notifications", 100);
const unread = async (who: SignedIn) => (await ok(who, "GET", "/notifications/unread_count")).unread_count;
const follow = (who: SignedIn, whom: SignedIn) => ok(who, "POST", `/users/${whom.username}/follow`);
/** Type, names and whether it is read, of each. */
const shown = (items: Json[]) =>
  items.map(({ type, actors, actor_count, read }: Json) => [
    ...[type, actors.map(({ username }: Json) => username.replace(/\d+$/, "")).join(), actor_count],
    ...(read ? ["read"] : []),
  ]);

t.test("follows are one notification a day, with the latest three and how many", async (t) => {
  const [ana, ...others] = (await register("ana", "ben", "cem", "dia", "eva")) as [SignedIn, ...SignedIn[]];
  t.strictSame((await ana.request("GET", "/notifications")).body, { items: [], next_cursor: null });
  t.equal(await unread(ana), 0);
  for (const one of others) await follow(one, ana);
  const [ben, , , eva] = others as [SignedIn, SignedIn, SignedIn, SignedIn];

  const [first, ...rest] = await list(ana);
  t.strictSame(rest, []);
  t.match(first, { type: "follow", actor_count: 4, post_id: null, comment_id: null, read: false });
  t.strictSame(shown([first]), [["follow", "eva,dia,cem", 4]]);
  t.strictSame(first.actors[0], { id: eva.id, username: eva.username, display_name: null, avatar_url: null });
  t.equal(await unread(ana), 1);
  for (const one of others) t.strictSame(await list(one), [], "who follows is told nothing");

  t.strictSame(await ok(ana, "POST", "/notifications/read"), { unread_count: 0 });
  await follow(ben, ana);
  t.strictSame(shown(await list(ana)), [["follow", "eva,dia,cem", 4, "read"]], "who follows already changes nothing");
  await ok(ben, "DELETE", `/users/${ana.username}/follow`);
  t.strictSame(shown(await list(ana)), [["follow", "eva,dia,cem", 3, "read"]]);
  await follow(ben, ana);
  t.strictSame(shown(await list(ana)), [["follow", "ben,eva,dia", 4]], "somebody new makes it unread again");
  t.equal(await unread(ana), 1);
});

t.test("requests, their approval, and their end", async (t) => {
  const [ana, ben, cem] = (await register("ana", "ben", "cem")) as [SignedIn, SignedIn, SignedIn];
  await ok(ana, "PATCH", "/me", { is_private: true });
  await follow(ben, ana);
  await follow(cem, ana);
  t.strictSame(shown(await list(ana)), [["follow_request", "cem,ben", 2]]);
  await ok(ana, "POST", `/follow-requests/${ben.username}/approve`);
  t.strictSame(shown(await list(ana)), [
    ["follow", "ben", 1],
    ["follow_request", "cem", 1],
  ]);
  t.strictSame(shown(await list(ben)), [["follow_approved", "ana", 1]]);
  await ok(ana, "POST", `/follow-requests/${cem.username}/deny`);
  t.strictSame(shown(await list(ana)), [["follow", "ben", 1]]);
  t.strictSame(await list(cem), [], "who is refused is not told");
  await follow(cem, ana);
  await ok(ana, "PATCH", "/me", { is_private: false });
  t.strictSame(shown(await list(cem)), [["follow_approved", "ana", 1]], "by going public");
  await ok(ana, "DELETE", `/me/followers/${ben.username}`);
  t.strictSame(shown(await list(ana)), [["follow", "cem", 1]]);
  t.strictSame(await list(ben), [], "what is not so any more is not told any more");
});

t.test("mentions, for as long as the text has them and may be seen", async (t) => {
  const [ana, ben, cem] = (await register("ana", "ben", "cem")) as [SignedIn, SignedIn, SignedIn];
  const post = await publish(ana, [photo], { caption: `with @${ben.username} and @${ana.username}` });
  const [mention, ...rest] = await list(ben);
  t.strictSame(rest, []);
  t.match(mention, { type: "mention", post_id: post.id, comment_id: null, actor_count: 1, read: false });
  t.strictSame(await list(ana), [], "nobody is told of themselves");

  await ok(ana, "PATCH", "/me", { is_private: true });
  t.strictSame([await list(ben), await unread(ben)], [[], 0], "a private account's posts are not for strangers");
  t.equal((await ben.request("POST", "/notifications/read", { json: { up_to: mention.id } })).status, 404);
  await ok(ana, "PATCH", "/me", { is_private: false });
  t.strictSame(
    [shown(await list(ben)), await unread(ben)],
    [[["mention", "ana", 1]], 1],
    "until they are public again",
  );

  await ok(ana, "PATCH", `/posts/${post.id}`, { caption: "alone" });
  t.strictSame(await list(ben), []);
  await ok(ana, "PATCH", `/posts/${post.id}`, { caption: `@${ben.username} out and in again, and @${cem.username}` });
  t.strictSame([await list(ben), await unread(ben)], [[], 0], "nobody is told twice of one post");
  t.strictSame(shown(await list(cem)), [["mention", "ana", 1]]);
  await ok(ana, "DELETE", `/posts/${post.id}`);
  t.strictSame([await list(cem), await unread(cem)], [[], 0]);
});

t.test("likes and comments, and what becomes of them", async (t) => {
  const [ana, ben, cem] = (await register("ana", "ben", "cem")) as [SignedIn, SignedIn, SignedIn];
  const post = await publish(ana, [photo]);
  const about = (items: Json[]) => items.map(({ type, post_id, comment_id }: Json) => [type, post_id, comment_id]);
  const comment = async (who: SignedIn, text: string, parent_id?: string): Promise<string> =>
    (await ok(who, "POST", `/posts/${post.id}/comments`, { text, ...(parent_id ? { parent_id } : {}) })).id;

  for (const one of [ana, ben, cem, ben]) await ok(one, "POST", `/posts/${post.id}/like`);
  t.equal(await unread(ana), 1, "at once, however likes are counted");
  t.strictSame(shown(await list(ana)), [["like", "cem,ben", 2]]);
  t.strictSame(about(await list(ana)), [["like", post.id, null]]);
  await ok(cem, "DELETE", `/posts/${post.id}/like`);
  t.strictSame(shown(await list(ana)), [["like", "ben", 1]]);

  const first = await comment(ben, "one");
  const second = await comment(ben, "two");
  t.strictSame(about(await list(ana)).slice(0, 1), [["comment", post.id, second]]);
  t.strictSame(shown(await list(ana)), [
    ["comment", "ben", 1],
    ["like", "ben", 1],
  ]);
  await ok(ana, "POST", "/notifications/read");
  await ok(ben, "DELETE", `/comments/${second}`);
  t.strictSame(about(await list(ana)).slice(0, 1), [["comment", post.id, first]], "the other one is still there");

  const reply = await comment(ana, `yes @${ben.username} and @${cem.username}`, first);
  t.strictSame(about(await list(ben)), [["reply", post.id, reply]], "told once of a reply that mentions them");
  t.strictSame(about(await list(cem)), [["mention", post.id, reply]]);
  const answer = await comment(cem, "me too", reply);
  t.strictSame(shown(await list(ben)), [["reply", "cem,ana", 2]], "a reply to a reply is one to the comment above");
  t.strictSame(about(await list(ana)).slice(0, 1), [["comment", post.id, answer]]);
  await ok(cem, "POST", `/comments/${first}/like`);
  t.strictSame(about(await list(ben)).slice(0, 1), [["comment_like", post.id, first]]);
  await ok(cem, "DELETE", `/comments/${first}/like`);
  t.strictSame(shown(await list(ben)), [["reply", "cem,ana", 2]]);
  await ok(cem, "POST", `/comments/${first}/like`);

  await ok(ana, "POST", `/users/${cem.username}/block`);
  t.strictSame(shown(await list(ana)), [
    ["comment", "ben", 1, "read"],
    ["like", "ben", 1, "read"],
  ]);
  t.strictSame(await list(cem), [], "of ana, and of what is on her post");
  await ok(ana, "DELETE", `/comments/${first}`);
  t.strictSame([await list(ben), shown(await list(ana))], [[], [["like", "ben", 1, "read"]]]);
  await ok(ana, "DELETE", `/posts/${post.id}`);
  t.strictSame([await list(ana), await unread(ana)], [[], 0]);
});

t.test("blocks and mutes take away what was told, and keep away what would be", async (t) => {
  const [ana, ben, cem] = (await register("ana", "ben", "cem")) as [SignedIn, SignedIn, SignedIn];
  for (const one of [ben, cem]) await follow(one, ana);
  await follow(ana, ben);
  await ok(ana, "POST", `/users/${ben.username}/block`);
  t.strictSame(shown(await list(ana)), [["follow", "cem", 1]]);
  t.strictSame(await list(ben), [], "both ways");
  await ok(ana, "POST", `/users/${cem.username}/mute`);
  t.strictSame([await list(ana), await unread(ana)], [[], 0]);
  await ok(cem, "DELETE", `/users/${ana.username}/follow`);
  await follow(cem, ana);
  t.strictSame(await list(ana), []);
  await ok(ana, "DELETE", `/users/${ben.username}/block`);
  await ok(ana, "DELETE", `/users/${cem.username}/mute`);
  t.strictSame(await list(ana), [], "nothing comes back");
  await follow(ben, ana);
  t.strictSame(shown(await list(ana)), [["follow", "ben", 1]]);
});

t.test("nobody is told of a reply that hangs below the comment of somebody whom a block hides", async (t) => {
  const [ana, ben, cem, dia] = (await register("ana", "ben", "cem", "dia")) as [SignedIn, SignedIn, SignedIn, SignedIn];
  const post = await publish(ana, [photo]);
  const comment = (who: SignedIn, json: object) => ok(who, "POST", `/posts/${post.id}/comments`, json);
  const root = await comment(ben, { text: "first" });
  for (const one of [ana, dia]) await ok(one, "POST", `/users/${ben.username}/block`);
  const reply = await comment(cem, { text: `so @${dia.username}`, parent_id: root.id });
  t.equal((await dia.request("GET", `/comments/${reply.id}/replies`)).status, 404);
  t.strictSame([await list(ana), await list(dia)], [[], []]);
  await comment(cem, { text: `or @${dia.username}` });
  t.strictSame([shown(await list(ana)), shown(await list(dia))], [[["comment", "cem", 1]], [["mention", "cem", 1]]]);
});

t.test("the suspended and the deleted are not counted", async (t) => {
  const [ana, ben, cem] = (await register("ana", "ben", "cem")) as [SignedIn, SignedIn, SignedIn];
  for (const one of [ben, cem]) await follow(one, ana);
  t.equal((await run(["users", "suspend", cem.username], service.env)).code, 0);
  t.strictSame(shown(await list(ana)), [["follow", "ben", 1]]);
  t.equal((await run(["users", "unsuspend", cem.username], service.env)).code, 0);
  t.strictSame(shown(await list(ana)), [["follow", "cem,ben", 2]]);
  t.equal((await cem.request("DELETE", "/me", { json: { password: cem.password } })).status, 202);
  t.strictSame(shown(await list(ana)), [["follow", "ben", 1]], "at once");
  await waitFor(async () => {
    const { rowCount } = await sql.query("SELECT FROM users WHERE id = $1", [cem.id]);
    return rowCount === 0;
  }, "the account to be removed");
  const { rows } = await sql.query("SELECT count(*)::int AS left FROM notification_actors WHERE actor_id = $1", [
    cem.id,
  ]);
  t.strictSame(rows, [{ left: 0 }]);
});

t.test("reading up to one, pages, and what is nobody's business", async (t) => {
  const [ana, ben, cem] = (await register("ana", "ben", "cem")) as [SignedIn, SignedIn, SignedIn];
  await ok(ana, "PATCH", "/me", { is_private: true });
  await follow(ben, ana);
  await ok(ana, "POST", `/follow-requests/${ben.username}/approve`);
  await follow(cem, ana);
  await publish(ben, [photo], { caption: `@${ana.username}` });
  const all = await list(ana);
  t.strictSame(shown(all), [
    ["mention", "ben", 1],
    ["follow_request", "cem", 1],
    ["follow", "ben", 1],
  ]);
  t.strictSame(await walk(ana, "/notifications", 1), all);
  t.ok(all.every(({ created_at, updated_at }) => created_at <= updated_at));

  t.strictSame(await ok(ana, "POST", "/notifications/read", { up_to: all[1].id }), { unread_count: 1 });
  t.strictSame(
    (await list(ana)).map(({ read }) => read),
    [false, true, true],
  );
  t.strictSame(await ok(ana, "POST", "/notifications/read", { up_to: all[2].id }), { unread_count: 1 }, "never less");
  for (const up_to of [(await list(ben))[0].id, ana.id, "", "no-uuid"]) {
    const { status, body } = await ana.request("POST", "/notifications/read", { json: { up_to } });
    t.strictSame([status, body.error.code], [404, "NOTIFICATION_NOT_FOUND"]);
  }
  t.equal(await unread(ben), 1, "another's are untouched");
  const { status } = await ana.request("POST", "/notifications/read", { json: { upTo: all[0].id } });
  t.strictSame([status, await unread(ana)], [400, 1], "whoever misspells it does not mark everything");
  t.strictSame(await ok(ana, "POST", "/notifications/read", { up_to: null }), { unread_count: 0 });
  t.strictSame(await ok(ana, "POST", "/notifications/read", {}), { unread_count: 0 });
  for (const [method, path] of [
    ["GET", "/notifications"],
    ["GET", "/notifications/unread_count"],
    ["POST", "/notifications/read"],
    ["GET", "/me/notification-preferences"],
    ["PATCH", "/me/notification-preferences"],
  ] as const) {
    t.equal((await client.request(method, path)).status, 401, `${method} ${path}`);
  }
});

t.test("preferences", async (t) => {
  const [ana, ben, cem] = (await register("ana", "ben", "cem")) as [SignedIn, SignedIn, SignedIn];
  const all = {
    ...{ follow: true, follow_request: true, follow_approved: true, like: true },
    ...{ comment: true, reply: true, mention: true, comment_like: true },
  };
  const path = "/me/notification-preferences";
  t.strictSame(await ok(ana, "GET", path), all);
  await follow(ben, ana);
  t.strictSame(await ok(ana, "PATCH", path, { follow: false, like: true }), { ...all, follow: false });
  await follow(cem, ana);
  t.strictSame(shown(await list(ana)), [["follow", "ben", 1]], "what was told stays, no more is");
  t.strictSame(await ok(ana, "PATCH", path, { mention: false }), { ...all, follow: false, mention: false });
  t.strictSame(await ok(ana, "PATCH", path, { follow: true }), { ...all, mention: false });
  t.strictSame(await ok(ben, "GET", path), all, "one's own");
  for (const json of [{ follow: "no" }, { follow: null }, { poke: true }, []]) {
    t.equal((await ana.request("PATCH", path, { json })).status, 400, JSON.stringify(json));
  }
});
