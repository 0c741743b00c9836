import pg from "pg";
import t from "tap";
import { tintype } from "../support/backup.ts";
import type { Client, Json, SignedIn } from "../support/client.ts";
import { picture } from "../support/pictures.ts";
import { waitFor } from "../support/server.ts";
import { startService } from "../support/service.ts";
import { publishStory } from "../support/stories.ts";

const { client, databaseUrl, env } = await startService(t);
const sql = new pg.Pool({ connectionString: databaseUrl, max: 1 });
t.teardown(() => sql.end());
const photo = await picture({ width: 90, height: 160 });
const [ana, bert, cleo] = await Promise.all(["ana", "bert", "cleo"].map((name) => client.register(name)));
if (!ana || !bert || !cleo) throw new Error("three people are needed");
await ana.request("POST", "/me/close-friends/bert");

const tell = (by: SignedIn, audience = "everyone") => publishStory(by, photo, { audience });
/** As if a day had passed. */
const end = () => sql.query("UPDATE stories SET expires_at = now()");
const get = async (by: Client, path: string) => (await by.request("GET", path)).body;
const ids = ({ items }: Json) => items.map(({ id }: Json) => id);
const statusOf = async (by: Client, method: string, path: string, json?: unknown) =>
  (await by.request(method, path, json === undefined ? {} : { json })).status;
const keep = (by: Client, keep_archive: unknown) =>
  by.request("PATCH", "/me/story-preferences", { json: { keep_archive } });

t.test("who keeps an archive has the stories that are over, and nobody else does", async (t) => {
  t.strictSame(await get(ana, "/me/story-preferences"), { keep_archive: false });
  const gone = await tell(ana);
  t.equal(gone.kept, false);
  await end();
  t.strictSame((await keep(ana, true)).body, { keep_archive: true });
  t.equal((await keep(ana, "yes")).status, 400);
  t.equal((await ana.request("PATCH", "/me/story-preferences", { json: { all: true } })).status, 400);
  t.strictSame((await ana.request("PATCH", "/me/story-preferences", { json: {} })).body, { keep_archive: true });

  const [first, second] = [await tell(ana), await tell(ana, "close_friends")];
  t.equal(first.kept, true);
  t.equal((await get(bert, `/stories/${first.id}`)).kept, null, "that is the author's to know");
  t.strictSame(ids(await get(ana, "/me/stories/archive")), [], "they are not over");
  await keep(ana, false);
  t.equal((await get(ana, `/stories/${first.id}`)).kept, false, "off is for those that are not over");
  await keep(ana, true);
  await end();
  t.equal(await statusOf(ana, "GET", `/stories/${first.id}`), 404, "over is over");
  const latest = await get(ana, "/me/stories/archive?limit=1");
  t.strictSame(ids(latest), [second.id]);
  const rest = await get(ana, `/me/stories/archive?limit=1&cursor=${latest.next_cursor}`);
  t.strictSame([ids(rest), rest.next_cursor], [[first.id], null], "what was over before is gone");
  t.equal(rest.items[0].view_count, 0);
  t.equal(await statusOf(client, "GET", rest.items[0].media[0].large_url), 200, "its picture is its author's");
  const [{ media }] = [first];
  const ticketOfBert = (await tell(bert)).media[0].large_url.split("?")[1];
  t.equal(await statusOf(client, "GET", `${media[0].large_url.split("?")[0]}?${ticketOfBert}`), 404);

  await keep(ana, false);
  t.strictSame(ids(await get(ana, "/me/stories/archive")), [second.id, first.id], "the archive stays");
  t.strictSame(ids(await get(bert, "/me/stories/archive")), [], "it is one's own");
  t.equal(await statusOf(bert, "DELETE", `/stories/${first.id}`), 404);
  t.equal(await statusOf(ana, "DELETE", `/stories/${first.id}`), 204);
  t.strictSame(ids(await get(ana, "/me/stories/archive")), [second.id]);
});

t.test("a highlight shows stories that are over to those whom they are for", async (t) => {
  const [open, close] = [await tell(ana), await tell(ana, "close_friends")];
  const headers = { "idempotency-key": "one-highlight" };
  const json = { title: " Summer ☀ ", story_ids: [close.id, open.id, open.id.toUpperCase()] };
  const made = await ana.request("POST", "/me/highlights", { json, headers });
  t.match([made.status, made.body], [201, { title: "Summer ☀", count: 2, cover: close.media[0].thumbnail_url }]);
  const again = await ana.request("POST", "/me/highlights", { json, headers });
  t.strictSame([again.status, again.body], [201, made.body]);
  t.equal((await get(ana, `/stories/${open.id}`)).kept, true, "it is kept now");
  await keep(ana, false);
  await end();
  await keep(ana, true);
  const path = `/highlights/${made.body.id}/stories`;
  t.strictSame(ids(await get(bert, path)), [open.id, close.id], "the oldest first");
  const page = await get(bert, `${path}?limit=1`);
  t.strictSame(ids(await get(bert, `${path}?limit=1&cursor=${page.next_cursor}`)), [close.id]);
  t.match((await get(bert, "/users/ana/highlights")).items, [{ id: made.body.id, count: 2 }]);

  const [seen] = (await get(cleo, "/users/ana/highlights")).items;
  t.match(seen, { count: 1, cover: new RegExp(open.media[0].id) }, "without what is for close friends");
  const { cover, ...one } = await get(cleo, `/highlights/${made.body.id}`);
  t.strictSame([{ ...one, cover: seen.cover }, cover.split("?")[0]], [seen, seen.cover.split("?")[0]]);
  t.equal(await statusOf(client, "GET", seen.cover), 200, "its picture too");
  const ticket = seen.cover.split("?")[1];
  const large = (story: Json) => `${story.media[0].large_url.split("?")[0]}?${ticket}`;
  t.strictSame([await statusOf(client, "GET", large(open)), await statusOf(client, "GET", large(close))], [200, 404]);
  const [shown] = (await get(cleo, path)).items;
  t.match(shown, { id: open.id, view_count: null, kept: null });
  t.equal(await statusOf(cleo, "GET", `/stories/${open.id}`), 404, "by itself it is over");

  await ana.request("POST", "/users/cleo/block");
  t.strictSame([await statusOf(cleo, "GET", path), await statusOf(cleo, "GET", "/users/ana/highlights")], [404, 404]);
  t.equal(await statusOf(client, "GET", large(open)), 404);
  await ana.request("DELETE", "/users/cleo/block");

  t.strictSame(
    (await ana.request("DELETE", `/me/highlights/${made.body.id}/stories/${open.id}`)).body,
    (await ana.request("DELETE", `/me/highlights/${made.body.id}/stories/${open.id}`)).body,
  );
  t.equal(await statusOf(cleo, "GET", path), 404, "nothing in it is for her");
  t.strictSame((await get(cleo, "/users/ana/highlights")).items, []);
  t.equal(await statusOf(client, "GET", large(open)), 404, "the picture is its author's again");
  t.ok(ids(await get(ana, "/me/stories/archive")).includes(open.id), "it stays in the archive");

  t.equal(await statusOf(ana, "DELETE", `/stories/${close.id}`), 204);
  t.equal(await statusOf(bert, "GET", path), 404, "what is deleted leaves it at once");
  t.match((await get(ana, "/users/ana/highlights")).items, [{ count: 0, cover: null }], "its owner has it, empty");
  t.strictSame(ids(await get(ana, path)), []);
  for (let time = 0; time < 2; time++) {
    const { body } = await ana.request("POST", `/me/highlights/${made.body.id}/stories/${open.id}`);
    t.strictSame(body, { highlighted: true });
  }
  t.strictSame(ids(await get(cleo, path)), [open.id]);
  t.match((await ana.request("PATCH", `/me/highlights/${made.body.id}`, { json: { title: "Sun" } })).body, {
    title: "Sun",
    count: 1,
  });
  t.equal(await statusOf(ana, "DELETE", `/me/highlights/${made.body.id}`), 204);
  t.equal(await statusOf(ana, "GET", path), 404);
});

t.test("what cannot be", async (t) => {
  const mine = await tell(ana);
  const theirs = await tell(bert);
  const { body: highlight } = await bert.request("POST", "/me/highlights", { json: { title: "b" } });
  t.match(highlight, { count: 0, cover: null });
  for (const title of ["", " ", "x".repeat(51), "a\nb"]) {
    t.equal(await statusOf(ana, "POST", "/me/highlights", { title }), 422, JSON.stringify(title));
    t.equal(await statusOf(bert, "PATCH", `/me/highlights/${highlight.id}`, { title }), 422);
  }
  t.equal(await statusOf(ana, "POST", "/me/highlights", { title: "☀".repeat(50) }), 201, "by code points");
  for (const [story, expected] of [
    [theirs.id, 403],
    ["nothing", 404],
    ["0195d2b5-0000-7000-8000-000000000000", 404],
  ] as const) {
    t.equal(await statusOf(ana, "POST", "/me/highlights", { title: "a", story_ids: [mine.id, story] }), expected);
  }
  t.equal((await get(ana, `/stories/${mine.id}`)).kept, true);
  await keep(ana, false);
  t.equal((await get(ana, `/stories/${mine.id}`)).kept, false, "what was refused has kept nothing");
  const story_ids = Array.from({ length: 101 }, () => mine.id);
  t.equal(await statusOf(ana, "POST", "/me/highlights", { title: "a", story_ids }), 422);
  t.match((await ana.request("POST", "/me/highlights", { json: { title: "a", story_ids: [] } })).body, { count: 0 });
  for (const [method, path, json] of [
    ["PATCH", `/me/highlights/${highlight.id}`, { title: "mine" }],
    ["DELETE", `/me/highlights/${highlight.id}`, undefined],
    ["POST", `/me/highlights/${highlight.id}/stories/${theirs.id}`, undefined],
    ["DELETE", `/me/highlights/${highlight.id}/stories/${theirs.id}`, undefined],
    ["GET", `/highlights/${highlight.id}`, undefined],
    ["GET", `/highlights/${highlight.id}/stories`, undefined],
    ["PATCH", "/me/highlights/none", { title: "mine" }],
    ["GET", "/highlights/none", undefined],
    ["GET", "/highlights/none/stories", undefined],
  ] as const) {
    const answer = await ana.request(method, path, json ? { json } : {});
    t.strictSame([answer.status, answer.body.error.code], [404, "HIGHLIGHT_NOT_FOUND"], `${method} ${path}`);
  }
  await end();
  t.equal(await statusOf(ana, "POST", "/me/highlights", { title: "a", story_ids: [mine.id] }), 404, "it was not kept");
  await keep(ana, true);
  t.equal(await statusOf(ana, "POST", "/me/highlights", { title: "a", story_ids: [mine.id] }), 404, "nor is it now");

  const one = await tell(ana);
  const { body: full } = await ana.request("POST", "/me/highlights", { json: { title: "full" } });
  await sql.query(
    `WITH media AS (
       INSERT INTO media (id, owner_id, purpose, state, content_type, bytes, sha256)
       SELECT gen_random_uuid(), $1, 'story', 'processing', 'image/jpeg', 1, '' FROM generate_series(1, 100) RETURNING id),
     stories AS (
       INSERT INTO stories (id, user_id, medium_id, audience, status, published_at, expires_at, kept)
       SELECT gen_random_uuid(), $1, id, 'everyone', 'published', now(), now(), true FROM media RETURNING id)
     INSERT INTO highlight_stories (highlight_id, story_id) SELECT $2, id FROM stories`,
    [ana.id, full.id],
  );
  const refused = await ana.request("POST", `/me/highlights/${full.id}/stories/${one.id}`);
  t.strictSame([refused.status, refused.body.error.code], [422, "HIGHLIGHT_FULL"]);
  await sql.query(
    "INSERT INTO highlights (id, user_id, title) SELECT gen_random_uuid(), $1, 'x' FROM generate_series(1, 97)",
    [ana.id],
  );
  const more = await ana.request("POST", "/me/highlights", { json: { title: "one more" } });
  t.strictSame([more.status, more.body.error.code], [422, "TOO_MANY_HIGHLIGHTS"]);
});

t.test("its picture is known to operators as a story's, and made again in its shape", async (t) => {
  const { id, media } = await tell(bert);
  const [{ id: medium, width, height }] = media;
  const listed = await tintype(["media", "list", "--user", "bert", "--limit", "1"], env);
  t.match(listed.media, [{ id: medium, kind: "story", post_id: null, story_id: id }]);
  const { by_kind } = await tintype(["media", "usage", "--user", "bert", "--by", "kind"], env);
  t.match(by_kind, [{ kind: "story", state: "ready", renditions: by_kind[0].media * 4 }]);
  await sql.query("UPDATE renditions SET width = 1, height = 1 WHERE medium_id = $1", [medium]);
  t.ok((await tintype(["media", "reprocess", "--user", "bert", "--kind", "story"], env)).enqueued > 0);
  await waitFor(async () => {
    const { rows } = await sql.query("SELECT width, height FROM renditions WHERE medium_id = $1 AND name = 'large'", [
      medium,
    ]);
    return rows[0].width === width && rows[0].height === height;
  }, "its renditions to be made again");
  const used = async () => (await get(bert, "/me/usage")).used_bytes;
  const before = await used();
  await bert.request("DELETE", `/stories/${id}`);
  t.equal(await used(), before - photo.length, "it counts in the quota while it is there");
});
