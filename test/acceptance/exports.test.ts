import { mkdir, open, readFile, rename, rm, rmdir, stat } from "node:fs/promises";
import { request } from "node:http";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import t from "tap";
import type { Json } from "../support/client.ts";
import { exactly } from "../support/exactly.ts";
import {
  ask,
  askAnew,
  fetchFiles,
  filesBelow,
  originalOf,
  pipeInPlaceOf,
  place,
  settled,
  swept,
  unzip,
} from "../support/exports.ts";
import { picture, truncated } from "../support/pictures.ts";
import { start, waitFor } from "../support/server.ts";
import { publish } from "../support/service.ts";
import { publishStory } from "../support/stories.ts";

t.jobs = 3;

t.test("all that is kept of a person, and nothing of others", { buffered: true }, async (t) => {
  const here = await place(t);
  const { client } = here;
  const register = (name: string) => client.register(name);
  const [ana, bert, cleo, dora] = await Promise.all([
    register("ana"),
    register("bert"),
    register("cleo"),
    register("dora"),
    register("emil"),
  ]);
  await ana.request("PATCH", "/me", { json: { display_name: "Ána ☀", bio: 'two\nlines, "quoted"' } });
  const pictures = {
    jpg: await picture({ gps: true, grain: 40 }),
    png: await picture({ format: "png", alpha: true, width: 40, height: 30 }),
    webp: await picture({ format: "webp" }),
    gif: await picture({ format: "gif", width: 30, height: 30, frames: 2 }),
  };
  const first = await publish(ana, [pictures.jpg, pictures.png], { caption: "été 🏖\n2", altTexts: ["the sea", ""] });
  const second = await publish(ana, [pictures.webp, pictures.gif]);
  const avatars = {
    shown: await picture({ width: 90, height: 90 }),
    failed: truncated(await picture({ format: "png" })),
  };
  for (const file of [avatars.shown, avatars.failed]) {
    const form = new FormData();
    form.append("file", new Blob([Uint8Array.from(file)]), "me");
    await ana.request("PUT", "/me/avatar", { form });
    await waitFor(async () => {
      const { upload } = (await ana.request("GET", "/me/avatar")).body;
      return upload?.status !== "processing";
    }, "the avatar to be processed");
  }
  for (const fan of [bert, cleo]) await fan.request("POST", "/users/ana/follow");
  await ana.request("POST", "/users/bert/follow");
  await ana.request("POST", "/users/emil/block");
  await ana.request("POST", "/users/cleo/mute");
  await here.sql.query("UPDATE users SET is_private = true WHERE username IN ('ana', 'cleo')");
  await dora.request("POST", "/users/ana/follow");
  await ana.request("POST", `/posts/${first.id}/like`);
  await ana.request("POST", `/posts/${first.id}/save`, { json: { collection: "Mine" } });
  await ana.request("POST", "/users/cleo/follow");
  const said = (await ana.request("POST", `/posts/${first.id}/comments`, { json: { text: "Mine" } })).body;
  await ana.request("POST", `/comments/${said.id}/like`);
  await ana.request("POST", "/me/close-friends/bert");
  await ana.request("POST", "/me/story-hides/cleo");
  const [{ id: story }, { id: seen }] = [
    await publishStory(ana, pictures.webp),
    await publishStory(bert, pictures.jpg),
  ];
  const { body: highlight } = await ana.request("POST", "/me/highlights", {
    json: { title: "Best", story_ids: [story] },
  });
  await ana.request("POST", `/stories/${seen}/view`);

  t.strictSame((await ana.request("GET", "/me/export")).body, { status: "none", url: null, expires_at: null });
  await Promise.all([ask(ana), ask(ana), ask(ana)]);
  const state = await settled(ana);
  t.equal(state.status, "ready");
  const { rows: jobs } = await here.sql.query("SELECT FROM pgboss.job WHERE name = 'exports.make'");
  t.equal(jobs.length, 1, "it was begun once");
  const days = (Date.parse(state.expires_at) - Date.now()) / 86_400_000;
  t.ok(days > 6.9 && days < 7.1, "for seven days");

  const answer = await fetch(state.url);
  t.equal(answer.status, 200);
  t.equal(answer.headers.get("content-type"), "application/zip");
  t.match(answer.headers.get("content-disposition"), /^attachment; filename="tintype-ana-\d{4}-\d\d-\d\d\.zip"$/);
  t.equal(answer.headers.get("cache-control"), "private, no-store");
  t.equal(answer.headers.get("referrer-policy"), "no-referrer");
  const bytes = Buffer.from(await answer.arrayBuffer());
  t.equal(answer.headers.get("content-length"), String(bytes.length));
  const files = await unzip(bytes);
  const json = (name: string): Json => JSON.parse(String(files.get(name)));

  t.strictSame(
    [...files.keys()].sort(),
    [
      ...[
        "README.txt",
        "avatar.jpg",
        "avatar_upload.png",
        "blocks.json",
        "close_friends.json",
        "collections.json",
        "comment_likes.json",
        "comments.json",
        "follow_requests.json",
        "followers.json",
        "following.json",
        "likes.json",
        "mutes.json",
      ],
      ...["stories.json", "story_preferences.json"],
      ...["highlights.json", "story_views.json", `stories/${story}.webp`],
      ...["notifications.json", "notification_preferences.json"],
      ...["posts.json", "profile.json", "saved.json", "sent_follow_requests.json", "sessions.json"],
      "stories_hidden_from.json",
      "sign_in_addresses.json",
      ...[
        `media/${first.id}/1.jpg`,
        `media/${first.id}/2.png`,
        `media/${second.id}/1.webp`,
        `media/${second.id}/2.gif`,
      ],
    ].sort(),
  );
  t.ok(files.get(`media/${first.id}/1.jpg`)?.equals(pictures.jpg), "to the byte, with the place in it");
  t.ok(files.get(`media/${first.id}/2.png`)?.equals(pictures.png));
  t.ok(files.get(`media/${second.id}/1.webp`)?.equals(pictures.webp));
  t.ok(files.get(`media/${second.id}/2.gif`)?.equals(pictures.gif));
  t.ok(files.get(`stories/${story}.webp`)?.equals(pictures.webp));
  t.ok(files.get("avatar.jpg")?.equals(avatars.shown));
  t.ok(files.get("avatar_upload.png")?.equals(avatars.failed), "also what could not be shown");
  t.match(String(files.get("README.txt")), /keeps of ana/);

  const me = (await ana.request("GET", "/me")).body;
  for (const [field, value] of Object.entries(json("profile.json"))) {
    if (field in me) t.same(value, me[field], `profile: ${field}`);
  }
  t.strictSame([json("profile.json").email, json("profile.json").bio], ["ana@example.org", 'two\nlines, "quoted"']);
  t.match(json("sessions.json"), exactly({ address: "127.0.0.1", user_agent: "node" }));
  t.match(json("sign_in_addresses.json"), exactly({ address: "127.0.0.1", last_used_at: String }));
  for (const [file, path] of [
    ["followers.json", "/users/ana/followers"],
    ["following.json", "/users/ana/following"],
    ["follow_requests.json", "/follow-requests"],
    ["blocks.json", "/me/blocks"],
    ["mutes.json", "/me/mutes"],
  ] as const) {
    const { items } = (await ana.request("GET", path)).body;
    t.ok(items.length > 0);
    t.strictSame(
      json(file).map(({ id, username, display_name }: Json) => ({ id, username, display_name })),
      items.map(({ id, username, display_name }: Json) => ({ id, username, display_name })),
      file,
    );
  }
  t.match(json("sent_follow_requests.json"), exactly({ username: "cleo", requested_at: /Z$/ }));
  t.match(json("likes.json"), exactly({ post_id: first.id, liked_at: String }));
  t.match(
    json("comments.json"),
    exactly({ id: said.id, post_id: first.id, parent_id: null, text: "Mine", like_count: 1 }),
  );
  t.match(json("comment_likes.json"), exactly({ comment_id: said.id, liked_at: String }));
  t.match(json("saved.json"), exactly({ post_id: first.id, saved_at: String, collections: exactly("Mine") }));
  t.match(json("collections.json"), exactly({ name: "Mine", created_at: String }));
  const { kept, view_count, expires_at } = (await ana.request("GET", `/stories/${story}`)).body;
  t.match(
    json("stories.json"),
    exactly({ id: story, audience: "everyone", status: "published", failure: null, kept, view_count, expires_at }),
  );
  t.match(
    json("stories.json")[0].media,
    exactly({ file: `stories/${story}.webp`, alt_text: null, original_kept: true }),
  );
  t.match(
    json("highlights.json"),
    exactly({ id: highlight.id, title: "Best", story_ids: exactly(story), created_at: String }),
  );
  t.strictSame(json("story_preferences.json"), { keep_archive: false });
  t.match(
    json("story_views.json"),
    exactly({ story_id: seen, author: { username: "bert" }, viewed_at: String, reaction: null }),
  );
  t.match(json("close_friends.json"), exactly({ username: "bert", added_at: String }));
  t.match(json("stories_hidden_from.json"), exactly({ username: "cleo", hidden_at: String }));
  const posts = new Map(json("posts.json").map((post: Json) => [post.id, post]));
  for (const { id } of [first, second]) {
    const shown = (await ana.request("GET", `/posts/${id}`)).body;
    const { caption, status, created_at, published_at, media } = posts.get(id) as Json;
    t.strictSame(
      { caption, status, created_at, published_at },
      {
        ...{ caption: shown.caption, status: shown.status },
        created_at: shown.created_at,
        published_at: shown.published_at,
      },
    );
    t.strictSame(
      media.map(({ id, alt_text, width, height }: Json) => ({ id, alt_text, width, height })),
      shown.media.map(({ id, alt_text, width, height }: Json) => ({ id, alt_text, width, height })),
    );
    for (const { file } of media) t.ok(files.has(file), file);
  }
  const text = Buffer.concat(
    [...files].filter(([name]) => /\.(json|txt)$/.test(name)).map(([, file]) => file),
  ).toString();
  t.notMatch(text, /\$argon2|token|password_hash|tt_/, "no secret");
  t.strictSame(new Set(text.match(/[\w.]+@[\w.]+/g)), new Set(["ana@example.org"]), "nobody else's address");
  t.notMatch(here.server.output(), new RegExp(state.url.split("/").at(-1)), "the token is not logged");
});

t.test("who may fetch it, how much of it, and for how long", { buffered: true }, async (t) => {
  const here = await place(t);
  const { client, sql, dataDir } = here;
  const ana = await client.register("ana");
  await publish(ana, [await picture({ width: 2000, height: 1500, grain: 120, quality: 97 })]);
  await ask(ana);
  const { url } = await settled(ana);
  const whole = Buffer.from(await (await fetch(url)).arrayBuffer());
  t.ok(whole.length > 1_000_000);

  const head = await fetch(url, { method: "HEAD" });
  t.strictSame([head.status, head.headers.get("content-length")], [200, String(whole.length)]);
  const etag = head.headers.get("etag") ?? "";
  const rest = await fetch(url, { headers: { range: "bytes=1000-", "if-range": etag } });
  t.equal(rest.status, 206);
  t.equal(rest.headers.get("content-range"), `bytes 1000-${whole.length - 1}/${whole.length}`);
  t.ok(Buffer.from(await rest.arrayBuffer()).equals(whole.subarray(1000)), "a broken download is gone on with");
  const other = await fetch(url, { headers: { range: "bytes=1000-", "if-range": '"another"' } });
  t.equal(other.status, 200);
  await other.body?.cancel();
  const beyond = await fetch(url, { headers: { range: `bytes=${whole.length}-` } });
  t.strictSame([beyond.status, await beyond.text()], [416, ""]);

  const [, id = "", token = ""] = /exports\/([^/]+)\/(.+)\.zip$/.exec(url) ?? [];
  t.equal(Buffer.from(token, "base64url").length, 32);
  const altered = `${token[0] === "A" ? "B" : "A"}${token.slice(1)}`;
  const wrong = [
    url.replace(token, altered),
    url.replace(token, token.slice(0, -1)),
    url.replace(token, ""),
    url.replace(".zip", ".tar"),
    url.replace(id, "0195d2b5-0000-7000-8000-000000000000"),
    url.replace(id, "nobody"),
    url.replace(id, "%00"),
  ];
  for (const one of wrong) {
    const answer = await fetch(one);
    t.equal(answer.status, 404, one);
    t.equal(((await answer.json()) as Json).error.code, "EXPORT_NOT_FOUND");
  }
  t.equal((await client.request("GET", "/me/export")).status, 401);
  t.equal((await client.request("POST", "/me/export")).status, 401);

  for (const state of ["suspended", "deleting"]) {
    await sql.query("UPDATE users SET state = $1", [state]);
    t.equal((await fetch(url)).status, 404, state);
  }
  await sql.query("UPDATE users SET state = 'active'");
  t.equal((await fetch(url)).status, 200);

  // A download that has begun goes on to its end, whatever happens to the file meanwhile.
  const slow = await new Promise<import("node:http").IncomingMessage>((resolve) => request(url, resolve).end());
  slow.pause();
  await sql.query("UPDATE exports SET expires_at = now()");
  t.equal((await fetch(url)).status, 404, "expired");
  t.strictSame((await ana.request("GET", "/me/export")).body, { status: "none", url: null, expires_at: null });
  await swept(here, async () => (await sql.query("SELECT FROM exports")).rowCount === 0);
  t.strictSame(await filesBelow(join(dataDir, "media", "exports")), [], "the archive is gone");
  t.ok((await buffer(slow)).equals(whole), "whoever was fetching it got it all");

  await ask(ana);
  const next = await settled(ana);
  t.not(next.url, url);
  t.strictSame((await ana.request("POST", "/me/export")).body, { status: "ready" }, "that of the last hour is given");
  t.strictSame(await settled(ana), next, "as it is");
  await sql.query("UPDATE exports SET finished_at = finished_at - interval '61 minutes'");
  await ask(ana);
  t.equal((await fetch(next.url)).status, 404, "replaced");
  const last = await settled(ana);
  t.equal((await fetch(last.url)).status, 200);
  t.equal((await filesBelow(join(dataDir, "media", "exports"))).length, 1);
  t.strictSame(await filesBelow(join(dataDir, "staging")), []);
});

t.test("what goes wrong", { buffered: true }, async (t) => {
  const here = await place(t);
  const { client, sql, dataDir } = here;
  const ana = await client.register("ana");
  const photo = await picture();
  const lost = await publish(ana, [photo]);
  const kept = await publish(ana, [photo]);
  await rm(await originalOf(here, lost.id));
  await ask(ana);
  const files = await fetchFiles((await settled(ana)).url);
  t.match(String(files.get("missing.txt")), `media/${lost.id}/1.jpg`, "what is not there is named");
  t.ok(files.get(`media/${kept.id}/1.jpg`)?.equals(photo));

  // A store that is away is waited for, without using up a try.
  const marker = join(dataDir, "media", "tintype-store.txt");
  await rename(marker, `${dataDir}/away`);
  await sql.query("UPDATE exports SET finished_at = finished_at - interval '61 minutes'");
  const away = await ana.request("POST", "/me/export");
  t.equal(away.status, 503, "the old one cannot be taken away");
  await rename(`${dataDir}/away`, marker);
  const pipe = await pipeInPlaceOf(await originalOf(here, kept.id));
  await ask(ana);
  const writing = await open(await originalOf(here, kept.id), "w");
  await rename(marker, `${dataDir}/away`);
  await writing.write(photo);
  await writing.close();
  await waitFor(async () => here.server.output().includes("the job is put back and waits"), "the job to wait");
  t.equal((await ana.request("GET", "/me/export")).body.status, "processing");
  await rename(`${dataDir}/away`, marker);
  await pipe.restore();
  t.equal((await settled(ana)).status, "ready");

  // A failure of the last try is written down.
  const path = await originalOf(here, kept.id);
  await rename(path, `${path}-kept`);
  await mkdir(path);
  await askAnew(ana);
  t.strictSame(await settled(ana), { status: "failed", url: null, expires_at: null });
  t.strictSame(await filesBelow(join(dataDir, "media", "exports")), []);
  t.strictSame(await filesBelow(join(dataDir, "staging")), [], "no try left anything behind");
  await rmdir(path);
  await rename(`${path}-kept`, path);
  await ask(ana);
  t.equal((await settled(ana)).status, "ready", "begun anew");

  // Nobody is left who would finish it.
  await sql.query("UPDATE exports SET status = 'processing', bytes = NULL, expires_at = NULL");
  await swept(here, async () => (await ana.request("GET", "/me/export")).body.status === "failed");
  await waitFor(async () => (await filesBelow(join(dataDir, "media", "exports"))).length === 0, "its object to go");
});

t.test("kill -9 of the worker while it is made: another one makes it", { buffered: true }, async (t) => {
  const here = await place(t, { TINTYPE_WORKER_EMBEDDED: "false" });
  const { client, dataDir, env } = here;
  const first = start(["worker"], env);
  t.teardown(() => first.kill());
  const ana = await client.register("ana");
  const photo = await picture();
  const post = await publish(ana, [photo]);
  const path = await originalOf(here, post.id);
  const pipe = await pipeInPlaceOf(path);
  await ask(ana);
  const writing = await open(path, "w");
  await writing.write(photo.subarray(0, 100));
  const staging = join(dataDir, "staging");
  const size = async () => {
    const [file] = await filesBelow(staging);
    return file === undefined ? 0 : (await stat(file)).size;
  };
  await waitFor(async () => (await size()) > 0, "a part of the archive");
  await first.kill();
  await writing.close();
  await pipe.restore();
  t.equal((await filesBelow(staging)).length, 1, "it left a part behind");
  t.equal((await ana.request("GET", "/me/export")).body.status, "processing");

  const second = start(["worker"], env);
  t.teardown(() => second.stop());
  const { status, url } = await settled(ana);
  t.equal(status, "ready");
  t.ok((await fetchFiles(url)).get(`media/${post.id}/1.jpg`)?.equals(photo));
  t.strictSame(await filesBelow(staging), [], "the part is gone");
  const stored = await filesBelow(join(dataDir, "media", "exports"));
  t.equal(stored.length, 1);
  t.ok((await readFile(stored[0] ?? "")).equals(Buffer.from(await (await fetch(url)).arrayBuffer())));
});
