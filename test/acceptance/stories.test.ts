import pg from "pg";
import sharp from "sharp";
import t from "tap";
import type { Answer, Json } from "../support/client.ts";
import { exactly } from "../support/exactly.ts";
import { walk } from "../support/pages.ts";
import { picture, svg, truncated, wrongCorners } from "../support/pictures.ts";
import { startService } from "../support/service.ts";
import { postStory, processedStory, publishStory, storyForm } from "../support/stories.ts";
import { age, writeExpired } from "../support/stories-cleanup.ts";

const { client, databaseUrl } = await startService(t, {
  TINTYPE_LIMITS_ENABLED: "true",
  TINTYPE_LIMITS_POST: "20/1h",
  TINTYPE_LIMITS_REGISTRATION: "0",
  TINTYPE_MEDIA_MAX_PHOTO: "500kb",
});
const sql = new pg.Pool({ connectionString: databaseUrl, max: 1 });
t.teardown(() => sql.end());
const NOTHING = "01890000-0000-7000-8000-000000000000";
const DAY = 24 * 3_600_000;
const photo = await picture({ width: 90, height: 160 });
const [ana, ben] = [await client.register("ana"), await client.register("ben")];
/** It is tried three times, for seconds, while the rest goes on. */
const unreadable = await postStory(ana, truncated(await picture({ width: 64, height: 64 })));

const idsOf = ({ body }: Answer): string[] => body.items.map(({ id }: Json) => id);
const codeOf = ({ status, body }: Answer) => `${status} ${body?.error?.code}`;

/** The sizes of a story's four renditions, each of which must be WebP. */
async function renditionsOf(story: Json): Promise<Record<string, string>> {
  const sizes: Record<string, string> = {};
  for (const name of ["thumbnail", "small", "medium", "large"]) {
    const { bytes } = await client.request("GET", story.media[0][`${name}_url`]);
    const { format, width, height } = await sharp(bytes).metadata();
    sizes[name] = `${format} ${width}x${height}`;
  }
  return sizes;
}

t.test("a story that is processed is there for its author alone", async (t) => {
  const { status, body } = await ana.request("GET", `/stories/${unreadable}`);
  t.match({ status, body }, { status: 200, body: { status: "processing", failure: null, published_at: null } });
  t.match(body.media, exactly({ width: null, thumbhash: null, thumbnail_url: null, large_url: null }));
  t.equal(codeOf(await ben.request("GET", `/stories/${unreadable}`)), "404 STORY_NOT_FOUND");
  for (const asker of [ana, ben]) t.strictSame(idsOf(await asker.request("GET", "/users/ana/stories")), []);
});

t.test("a picture becomes a story, which is there for a day", async (t) => {
  const posted = await ana.request("POST", "/stories", {
    form: storyForm(await picture({ width: 1080, height: 1920 }), { alt_text: "a tower", duration: "7" }),
  });
  t.equal(posted.status, 202);
  t.strictSame(posted.body, { story_id: posted.body.story_id, status: "processing" });
  const path = `/stories/${posted.body.story_id}`;
  const story = await processedStory(ana, posted.body.story_id);
  t.match(story, {
    author: { id: ana.id, username: "ana" },
    status: "published",
    failure: null,
    media: exactly({ type: "image", alt_text: "a tower", duration: null, video_url: null, thumbhash: String }),
    duration: 7,
    audience: "everyone",
    seen: true,
    view_count: 0,
  });
  t.equal(story.media.length, 1);
  t.equal(Date.parse(story.expires_at) - Date.parse(story.published_at), DAY);
  t.ok(story.created_at <= story.published_at);
  t.strictSame((await ben.request("GET", path)).body, {
    ...story,
    seen: false,
    view_count: null,
    kept: null,
    media: (await ben.request("GET", path)).body.media,
  });

  t.strictSame(
    await renditionsOf(story),
    { thumbnail: "webp 150x150", small: "webp 320x320", medium: "webp 360x640", large: "webp 608x1080" },
    "it fills a phone",
  );
  const large = await client.request("GET", story.media[0].large_url);
  t.strictSame(await wrongCorners(large.bytes), []);
  t.match(large.headers.get("cache-control"), /^private, max-age=60$/);
});

t.test("what is taller than a phone is cut, as what is very wide; the rest is whole", async (t) => {
  for (const [width, height, large] of [
    [300, 1200, "webp 300x533"],
    [1200, 300, "webp 573x300"],
    [800, 600, "webp 800x600"],
    [600, 750, "webp 600x750"],
    [1, 1, "webp 1x1"],
  ] as const) {
    const story = await publishStory(ana, await picture({ width, height }));
    t.equal((await renditionsOf(story)).large, large, `${width}x${height}`);
  }
});

t.test("a story's picture is for those whom it is for, also of a public account", async (t) => {
  const story = await publishStory(ana, photo);
  const mine = new URL(story.media[0].large_url);
  const bens = new URL((await ben.request("GET", `/stories/${story.id}`)).body.media[0].large_url);
  t.not(mine.search, bens.search, "each has a ticket of their own");
  for (const { href } of [mine, bens]) t.equal((await client.request("GET", href)).status, 200);
  t.equal(codeOf(await client.request("GET", mine.pathname)), "404 MEDIA_NOT_FOUND", "without one it is nobody's");
  await ana.request("POST", "/users/ben/block");
  t.equal(codeOf(await client.request("GET", bens.href)), "404 MEDIA_NOT_FOUND", "and a block ends it");
  await ana.request("DELETE", "/users/ben/block");
  t.equal((await client.request("GET", bens.href)).status, 200);
});

t.test("what is no story is refused, and nothing is kept of it", async (t) => {
  const cleo = await client.register("cleo");
  const many = (fields: Record<string, string>, pictures: Buffer[], name = "media") => {
    const form = new FormData();
    for (const [field, value] of Object.entries(fields)) form.append(field, value);
    for (const bytes of pictures) form.append(name, new Blob([Uint8Array.from(bytes)]), "picture");
    return form;
  };
  const refused: [what: string, form: FormData, answer: string][] = [
    ["no picture", many({ duration: "5" }, []), "422 MEDIA_MISSING"],
    ["two", many({}, [photo, photo]), "422 TOO_MANY_MEDIA"],
    ["in another field", many({}, [photo], "file"), "400 INVALID_REQUEST"],
    ["a drawing", storyForm(svg()), "415 UNSUPPORTED_FORMAT"],
    ["an empty file", storyForm(Buffer.alloc(0)), "422 EMPTY_FILE"],
    ["one that is too large", storyForm(Buffer.concat([photo, Buffer.alloc(600_000)])), "413 FILE_TOO_LARGE"],
    ["a caption", storyForm(photo, { caption: "none" }), "400 INVALID_REQUEST"],
    ["an alt text that is too long", storyForm(photo, { alt_text: "x".repeat(1_001) }), "422 INVALID_VALUE"],
    ...["friends", "Everyone", ""].map((audience): [string, FormData, string] => [
      `for ${audience}`,
      storyForm(photo, { audience }),
      "422 INVALID_VALUE",
    ]),
    ...["0", "61", "-1", "1.5", "seven", "1e1x", "0x5", "5s"].map((duration): [string, FormData, string] => [
      `for ${duration} seconds`,
      storyForm(photo, { duration }),
      /^-?\d+$/.test(duration) ? "422 INVALID_VALUE" : "400 INVALID_REQUEST",
    ]),
  ];
  for (const [what, form, answer] of refused) {
    t.equal(codeOf(await cleo.request("POST", "/stories", { form })), answer, what);
  }
  t.equal(codeOf(await client.request("POST", "/stories", { form: storyForm(photo) })), "401 UNAUTHENTICATED");
  t.equal(codeOf(await cleo.request("POST", "/stories", { json: {} })), "415 UNSUPPORTED_MEDIA_TYPE");
  const { rowCount } = await sql.query(
    "SELECT id FROM stories WHERE user_id = $1 UNION ALL SELECT id FROM media WHERE owner_id = $1",
    [cleo.id],
  );
  t.equal(rowCount, 0);

  for (const [duration, shown] of [
    ["1", 1],
    ["60", 60],
    ["", null],
  ] as const) {
    t.equal((await publishStory(cleo, photo, { duration, alt_text: " " })).duration, shown, `"${duration}"`);
  }
  t.strictSame(
    (await cleo.request("GET", "/users/cleo/stories")).body.items.map(({ media }: Json) => media[0].alt_text),
    [null, null, null],
    "an alt text of nothing but space is none",
  );
});

t.test("a picture that cannot be decoded fails the story, for its author alone", async (t) => {
  const id = unreadable;
  const failed = await processedStory(ana, id);
  t.match(failed, {
    status: "failed",
    failure: { code: "PICTURE_UNREADABLE", message: /^The .+\.$/ },
    media: exactly({ large_url: null }),
    published_at: null,
    expires_at: null,
    view_count: 0,
  });
  t.equal(codeOf(await ben.request("GET", `/stories/${id}`)), "404 STORY_NOT_FOUND");
  for (const asker of [ana, ben]) t.notOk(idsOf(await asker.request("GET", "/users/ana/stories")).includes(id));
  t.equal((await ana.request("DELETE", `/stories/${id}`)).status, 204);
  t.equal(codeOf(await ana.request("GET", `/stories/${id}`)), "404 STORY_NOT_FOUND");
});

t.test("stories and posts are limited as one, and a key posts once", async (t) => {
  const dan = await client.register("dan");
  const headers = { "idempotency-key": "a-story-of-dan" };
  const once = () => dan.request("POST", "/stories", { form: storyForm(photo), headers });
  const [first, again] = [await once(), await once()];
  t.strictSame([first.status, again.status], [202, 202]);
  t.strictSame(again.body, first.body);
  t.equal(again.headers.get("idempotent-replayed"), "true");
  const other = await dan.request("POST", "/stories", { form: storyForm(photo, { duration: "5" }), headers });
  t.equal(codeOf(other), "422 IDEMPOTENCY_KEY_REUSED");
  await processedStory(dan, first.body.story_id);
  t.strictSame(idsOf(await dan.request("GET", "/users/dan/stories")), [first.body.story_id]);

  await dan.post([photo]);
  const third = await dan.request("POST", "/stories", { form: storyForm(photo) });
  t.equal(third.headers.get("x-ratelimit-limit"), "20");
  t.equal(third.headers.get("x-ratelimit-remaining"), "17", "a replay does not count, a post does");
});

t.test("an author's stories, the oldest first, as those see them whom they are for", async (t) => {
  const [eva, fan, friend, stranger] = [
    await client.register("eva"),
    await client.register("fan"),
    await client.register("friend"),
    await client.register("stranger"),
  ];
  for (const follower of [fan, friend]) await follower.request("POST", "/users/eva/follow");
  await eva.request("POST", "/me/close-friends/friend");
  const open = await publishStory(eva, photo);
  const close = await publishStory(eva, photo, { audience: "close_friends" });
  const last = await publishStory(eva, photo);
  const all = [open.id, close.id, last.id];
  const seenBy = async (viewer: typeof eva) => {
    const listed = await viewer.request("GET", "/users/EVA/stories");
    const found: string[] = [];
    for (const id of all) if ((await viewer.request("GET", `/stories/${id}`)).status === 200) found.push(id);
    if (listed.status === 200) t.strictSame(idsOf(listed), found, `${viewer.username}: by id as in the list`);
    else t.same([codeOf(listed), found], ["404 USER_NOT_FOUND", []]);
    return found;
  };
  t.equal(close.audience, "close_friends");
  t.strictSame(await seenBy(eva), all);
  t.strictSame(await seenBy(friend), all);
  t.strictSame(await seenBy(fan), [open.id, last.id]);
  t.strictSame(await seenBy(stranger), [open.id, last.id]);
  t.equal((await client.request("GET", "/users/eva/stories")).status, 401);

  await eva.request("PATCH", "/me", { json: { is_private: true } });
  t.strictSame(await seenBy(stranger), [], "of a private account: its followers'");
  t.strictSame(await seenBy(friend), all);
  t.strictSame((await eva.request("POST", "/me/story-hides/fan")).body, { stories_hidden: true });
  t.strictSame(await seenBy(fan), [], "hidden from");
  await eva.request("DELETE", "/me/story-hides/fan");
  t.strictSame(await seenBy(fan), [open.id, last.id]);
  await friend.request("DELETE", "/users/eva/follow");
  t.strictSame(await seenBy(friend), [], "a close friend who does not follow a private account any more");
  await eva.request("PATCH", "/me", { json: { is_private: false } });
  await eva.request("DELETE", "/me/close-friends/friend");
  t.strictSame(await seenBy(friend), [open.id, last.id]);
  await fan.request("POST", "/users/eva/block");
  t.strictSame(await seenBy(fan), [], "whom one blocks oneself");
  await eva.request("POST", "/users/friend/block");
  t.strictSame(await seenBy(friend), [], "by whom one is blocked");
});

t.test(
  "all of an author's stories are listed, however many, by pages of a hundred where nothing else is asked for",
  async (t) => {
    const gil = await client.register("gil");
    // Some published at once: the id decides then.
    for (const count of [70, 5, 60]) await writeExpired(sql, gil, count);
    const { rows } = await sql.query<{ id: string }>(
      "SELECT id FROM stories WHERE user_id = $1 ORDER BY published_at, id",
      [gil.id],
    );
    const all = rows.map(({ id }) => id);
    await age(sql, "-2 hours", all);
    const first = await ben.request("GET", "/users/gil/stories");
    t.strictSame(idsOf(first), all.slice(0, 100));
    const rest = await ben.request("GET", `/users/gil/stories?cursor=${first.body.next_cursor}`);
    t.strictSame(idsOf(rest), all.slice(100));
    t.equal(rest.body.next_cursor, null);
    const walked = await walk(ben, "/users/gil/stories", 7);
    t.strictSame(
      walked.map(({ id }) => id),
      all,
    );
    t.equal(codeOf(await ben.request("GET", "/users/gil/stories?limit=101")), "400 INVALID_REQUEST");
  },
);

t.test("what is not there looks the same, whatever the id", async (t) => {
  const story = await publishStory(ana, photo);
  for (const id of [NOTHING, "nonsense", "%00", "x".repeat(200)]) {
    for (const method of ["GET", "DELETE"]) {
      t.equal(codeOf(await ben.request(method, `/stories/${id}`)), "404 STORY_NOT_FOUND", `${method} ${id}`);
    }
  }
  t.equal(codeOf(await ben.request("GET", "/users/nobody/stories")), "404 USER_NOT_FOUND");
  t.equal(codeOf(await ben.request("DELETE", `/stories/${story.id}`)), "403 NOT_YOUR_STORY");
  t.equal(
    (await ana.request("GET", `/stories/${story.id.toUpperCase()}`)).status,
    200,
    "an id is the same in capitals",
  );
});
