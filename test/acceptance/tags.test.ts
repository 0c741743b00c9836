import pg from "pg";
import t from "tap";
import { tintype } from "../support/backup.ts";
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
const photo = await picture({ width: 16, height: 16 });
const [ana, ben, cleo] = [await client.register("ana"), await client.register("ben"), await client.register("cleo")];

const posted = async (who: SignedIn, caption: string): Promise<string> => (await publish(who, [photo], { caption })).id;
const pathOf = (tag: string) => `/tags/${encodeURIComponent(tag)}/posts`;
async function idsOf(who: SignedIn, tag: string): Promise<string[]> {
  const { status, body } = await who.request("GET", pathOf(tag));
  if (status !== 200) throw new Error(`${tag}: ${status}`);
  return body.items.map(({ id }: Json) => id);
}
async function search(who: SignedIn, q: string): Promise<Json[]> {
  const { status, body } = await who.request("GET", `/search/tags?q=${encodeURIComponent(q)}&limit=100`);
  if (status !== 200) throw new Error(`${q}: ${status}`);
  return body.items;
}

t.test("posts of a hashtag, however it is written, latest first", async (t) => {
  const ids = [];
  for (const caption of ["#Sunset one", "two #sunset #SUNSET", "three (#ｓｕｎｓｅｔ) #été"])
    ids.unshift(await posted(ana, caption));
  await posted(ana, "#sunsets are others, and sunset is none");
  for (const tag of ["sunset", "#sunset", "SunSet", "#ｓｕｎｓｅｔ"]) t.same(await idsOf(ben, tag), ids, tag);
  t.same(await idsOf(ben, "ÉTÉ"), ids.slice(0, 1));
  t.same(
    (await walk(ben, pathOf("sunset"), 1)).map(({ id }) => id),
    ids,
    "by pages",
  );
  const [post] = (await ben.request("GET", pathOf("sunset"))).body.items;
  t.same(post, (await ben.request("GET", `/posts/${post.id}`)).body, "whole posts");
  for (const nothing of ["nobodyusesit", "not a tag", "#", "%00", "x".repeat(300)])
    t.same(await idsOf(ben, nothing), []);

  t.same(await search(ben, "#Sun"), [
    { tag: "sunset", post_count: 3 },
    { tag: "sunsets", post_count: 1 },
  ]);
  t.same(await search(ben, "sunsets"), [{ tag: "sunsets", post_count: 1 }]);
  t.same(
    (await walk(ben, "/search/tags?q=sun", 1)).map(({ tag }) => tag),
    ["sunset", "sunsets"],
  );
  t.same(await search(ben, "sunk"), []);
  t.match(await ben.request("GET", "/search/tags?q=%23%20"), {
    status: 422,
    body: { error: { code: "TAG_SEARCH_EMPTY" } },
  });
});

t.test("captions that change, and posts that go", async (t) => {
  const [one, two] = [await posted(ana, "#first #both"), await posted(ana, "#both")];
  await ana.request("PATCH", `/posts/${one}`, { json: { caption: "#second #both" } });
  t.same(await idsOf(ben, "first"), []);
  t.same(await idsOf(ben, "second"), [one]);
  t.same(await idsOf(ben, "both"), [two, one], "in the order of their publication still");
  await ana.request("DELETE", `/posts/${two}`);
  t.same(await idsOf(ben, "both"), [one]);
  t.same(await search(ben, "bot"), [{ tag: "both", post_count: 1 }]);
});

t.test("nobody learns of what they may not see", async (t) => {
  const [dan, eve] = [await client.register("dan"), await client.register("eve")];
  const secret = await posted(dan, "#hidden #shared");
  const open = await posted(eve, "#shared #eves");
  await ben.request("POST", "/users/dan/follow");
  await dan.request("PATCH", "/me", { json: { is_private: true } });
  t.same([await idsOf(ben, "hidden"), await search(ben, "hidden")], [[secret], [{ tag: "hidden", post_count: 1 }]]);
  t.same([await idsOf(cleo, "hidden"), await search(cleo, "hidden")], [[], []]);
  t.same([await idsOf(cleo, "shared"), await search(cleo, "sh")], [[open], [{ tag: "shared", post_count: 1 }]]);
  await eve.request("POST", "/users/cleo/block");
  await ben.request("POST", "/users/eve/block");
  for (const who of [ben, cleo]) t.same([await idsOf(who, "eves"), await search(who, "eves")], [[], []], who.username);
  t.same(await idsOf(ana, "shared"), [open]);
  await sql.query("UPDATE users SET state = 'suspended' WHERE username = 'eve'");
  t.same([await idsOf(ana, "shared"), await search(ana, "eves")], [[], []]);
});

t.test("a page goes on behind what may not be seen, and a search stays bounded", async (t) => {
  const first = await posted(ana, "#crowd");
  await sql.query(
    `WITH hidden AS (
       INSERT INTO users (id, username, email, password_hash, is_private) VALUES (gen_random_uuid(), 'hidden', 'h@example.org', 'none', true)
       RETURNING id
     ), tags (tag, posts) AS (VALUES ('crowd', 1200), ('crowded', 200)),
     made AS (
       INSERT INTO posts (id, user_id, status, published_at)
       SELECT gen_random_uuid(), id, 'published', now() FROM hidden, generate_series(1, 1200) RETURNING id, user_id, published_at
     )
     INSERT INTO post_tags (author_id, post_id, tag, published_at)
     SELECT user_id, id, tag, published_at FROM (SELECT *, row_number() OVER () AS n FROM made) AS made JOIN tags ON n <= posts`,
  );
  const last = await posted(ana, "#crowd");
  const { body } = await ben.request("GET", `${pathOf("crowd")}?limit=5`);
  t.match(body, { items: exactly({ id: last }), next_cursor: String });
  t.equal(body.items.length, 1);
  t.same(
    (await walk(ben, pathOf("crowd"), 5)).map(({ id }) => id),
    [last, first],
  );
  t.same(await search(ben, "crow"), [{ tag: "crowd", post_count: 1 }], "of the latest 50");
});

t.test("how many hidden posts a hashtag has cannot be read from a cursor", async (t) => {
  await sql.query(
    `WITH made AS (
       INSERT INTO posts (id, user_id, status, published_at)
       SELECT gen_random_uuid(), id, 'published', now() FROM users, generate_series(1, 50) WHERE username = 'ben'
       RETURNING id, user_id, published_at
     )
     INSERT INTO post_tags (author_id, post_id, tag, published_at)
     SELECT user_id, id, tag, published_at FROM made, unnest('{busy,busyb}'::text[]) AS tag`,
  );
  await sql.query("INSERT INTO tags (tag, uses) VALUES ('busy', 100), ('busyb', 50)");
  const page = async () => (await cleo.request("GET", "/search/tags?q=busy&limit=1")).body;
  const before = await page();
  t.match(before, { items: exactly({ tag: "busy", post_count: 50 }), next_cursor: String });
  await sql.query("UPDATE tags SET uses = 120 WHERE tag = 'busy'");
  t.same(await page(), before);
  await sql.query("UPDATE tags SET uses = uses + 900 WHERE tag = 'busyb'");
  t.match(await page(), { items: exactly({ tag: "busyb" }) }, "much used is before less used all the same");
  await sql.query("DELETE FROM post_tags WHERE tag LIKE 'busy%'");
  await sql.query("DELETE FROM tags WHERE tag LIKE 'busy%'");
  await sql.query("DELETE FROM posts USING users WHERE users.id = user_id AND username = 'ben'");
});

t.test("the most used are found among very many", async (t) => {
  await sql.query(
    `WITH added AS (
       INSERT INTO post_tags (author_id, post_id, tag, published_at)
       SELECT id, gen_random_uuid(), 'many' || lpad(n::text, 4, '0'), now() FROM users, generate_series(1, 1500) AS n
       WHERE username = 'ana' RETURNING tag
     ) INSERT INTO tag_log (tag, delta) SELECT tag, 1 FROM added`,
  );
  for (let n = 0; n < 2; n++) await posted(ana, "#manyz #MANYz");
  const counted = async () => (await sql.query("SELECT uses FROM tags WHERE tag = 'manyz'")).rows[0]?.uses;
  await sql.query("INSERT INTO pgboss.job (name, data) VALUES ('tags.count', '{}')");
  await waitFor(async () => (await counted()) === 2, "the tags to be counted");
  for (const q of ["m", "ma", "man", "many", "#MANYZ"])
    t.same((await search(ben, q))[0], { tag: "manyz", post_count: 2 }, q);
  t.same(await search(ben, "many0"), [], "posts that are not there are not counted");
});

t.test("made again from captions, and erased", async (t) => {
  const rows = async () =>
    (
      await sql.query(
        "SELECT tag, post_id FROM post_tags JOIN posts ON posts.id = post_id WHERE tag <> 'crowd' AND tag <> 'crowded' ORDER BY 1, 2",
      )
    ).rows;
  const before = await rows();
  // As when the feature was off: what was published is not there, and what has changed or gone still is.
  await sql.query(
    `WITH gone AS (DELETE FROM post_tags WHERE tag LIKE 's%' RETURNING tag)
     INSERT INTO tag_log (tag, delta) SELECT tag, -1 FROM gone`,
  );
  await sql.query(
    `WITH added AS (
       INSERT INTO post_tags SELECT author_id, post_id, 'wrong', published_at FROM post_tags WHERE tag = 'both' RETURNING tag
     ) INSERT INTO tag_log (tag, delta) SELECT tag, 1 FROM added`,
  );
  // As a server of the version before writes captions: it knows no entities.
  const older = `#older0 with @ben and ${Array.from({ length: 31 }, (_, n) => `#older${n}`).join(" ")}`;
  const { rows: changed } = await sql.query(
    "UPDATE posts SET caption = $1 WHERE caption LIKE '%#both' RETURNING id, caption_entities",
    [older],
  );
  t.match(changed, exactly({ caption_entities: exactly() }), "those of the text before point nowhere in this one");
  const [{ id: rewritten }] = changed;
  t.match(await tintype(["tags", "rebuild"], service.env), { posts: Number, strays: 1500 });
  t.same(
    (await rows()).filter(({ tag }: Json) => !tag.startsWith("older")),
    before.filter(({ post_id }: Json) => post_id !== rewritten),
  );
  t.same([await idsOf(ben, "older0"), await idsOf(ben, "older28")], [[rewritten], [rewritten]]);
  t.same(await idsOf(ben, "older29"), [], "30 hashtags of a caption count");
  const { caption_entities } = (await ben.request("GET", `/posts/${rewritten}`)).body;
  t.match(caption_entities.slice(0, 2), exactly({ tag: "older0" }, { username: "ben", start: 13, end: 17 }));
  t.same(
    (
      await sql.query(
        "SELECT tag, uses FROM tags WHERE uses <> (SELECT count(*) FROM post_tags WHERE post_tags.tag = tags.tag) AND tag NOT LIKE 'crow%'",
      )
    ).rows,
    [],
    "uses are counted",
  );

  await sql.query("UPDATE tags SET uses = uses + 3 WHERE tag = 'sunset'");
  await sql.query("DELETE FROM tags WHERE tag = 'sunsets'");
  await sql.query("INSERT INTO tags (tag, uses) VALUES ('0', 2)");
  await sql.query("INSERT INTO tag_log (tag, delta) VALUES ('été', 1)");
  const mended = async () => {
    const { differences } = await tintype(["counters", "verify", "--repair"], service.env);
    return differences.filter((one: Json) => one.counter === "tags.uses" && !one.id.startsWith("crow"));
  };
  t.same(await mended(), [
    { counter: "tags.uses", id: "0", kept: 2, actual: 0 },
    { counter: "tags.uses", id: "sunset", kept: 6, actual: 3 },
    { counter: "tags.uses", id: "sunsets", kept: 0, actual: 1 },
    { counter: "tags.uses", id: "été", kept: 2, actual: 1 },
  ]);
  t.same(await mended(), []);

  await sql.query("SET enable_seqscan = off");
  const plan = await sql.query("EXPLAIN DELETE FROM tags WHERE uses = 0");
  t.match(JSON.stringify(plan.rows), /tags_unused_idx/, "all tags are not read every minute");
  await ana.request("DELETE", "/me", { json: { password: ana.password } });
  await waitFor(
    async () => (await sql.query("SELECT FROM users WHERE username = 'ana'")).rowCount === 0,
    "ana to be erased",
  );
  t.equal((await sql.query("SELECT FROM post_tags WHERE author_id = $1", [ana.id])).rowCount, 0);
});
