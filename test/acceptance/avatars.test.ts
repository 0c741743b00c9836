import { readdir } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import sharp from "sharp";
import t from "tap";
import type { Answer, Client, Json, SignedIn } from "../support/client.ts";
import { bomb, CORNERS, colourAt, pdf, picture, truncated } from "../support/pictures.ts";
import { waitFor } from "../support/server.ts";
import { publish, startService } from "../support/service.ts";

const { client, dataDir, databaseUrl } = await startService(t, {
  TINTYPE_MEDIA_MAX_PHOTO: "1mb",
  TINTYPE_MEDIA_UPLOADS_PER_ACCOUNT: "20",
});
const sql = new pg.Pool({ connectionString: databaseUrl, max: 1 });
t.teardown(() => sql.end());
const photo = await picture({ width: 800, height: 600 });
const other = await picture({ width: 300, height: 500 });

function form(files: readonly Buffer[], field = "file"): FormData {
  const form = new FormData();
  for (const file of files) form.append(field, new Blob([Uint8Array.from(file)]), "me.jpg");
  return form;
}

function put(by: Client, ...files: Buffer[]): Promise<Answer> {
  return by.request("PUT", "/me/avatar", { form: form(files) });
}

/** Waits until no upload is being processed. @returns GET /me/avatar. */
function settled(by: Client): Promise<Json> {
  return waitFor(async () => {
    const { body } = await by.request("GET", "/me/avatar");
    return body.upload?.status !== "processing" && body;
  }, "the avatar to be processed");
}

/** Uploads, and waits until it is shown. @returns its URL. */
async function setAvatar(by: Client, file: Buffer): Promise<string> {
  const { status } = await put(by, file);
  if (status !== 200) throw new Error(`PUT /me/avatar: ${status}`);
  const { avatar_url, upload } = await settled(by);
  if (avatar_url === null || upload !== null) throw new Error(`no avatar: ${JSON.stringify(upload)}`);
  return avatar_url;
}

const mediumOf = (url: string) => /media\/([\w-]{36})\//.exec(url)?.[1] ?? "";
const statusOf = async (url: string) => (await client.request("GET", url)).status;

/** The media whose objects are in the store, each with how many. */
async function stored(): Promise<Map<string, number>> {
  // A folder that is removed while it is read is an error, and asked for again.
  const files = await waitFor(
    () => readdir(join(dataDir, "media"), { recursive: true, withFileTypes: true }),
    "the store to be read",
  );
  const counts = new Map<string, number>();
  for (const entry of files) {
    const id = /[\da-f]{8}-[\w-]{27}/.exec(join(entry.parentPath, entry.name))?.[0];
    if (entry.isFile() && id) counts.set(id, (counts.get(id) ?? 0) + 1);
  }
  return counts;
}

/** Waits until of all this account ever uploaded only its avatar is left, in the store and in Postgres. */
async function onlyAvatarLeft(account: SignedIn, url: string | null): Promise<void> {
  const avatar = url === null ? [] : [mediumOf(url)];
  const expected = JSON.stringify([avatar, avatar.map((id) => [id, 5])]);
  await waitFor(async () => {
    const { rows } = await sql.query("SELECT id FROM media WHERE owner_id = $1", [account.id]);
    const objects = [...(await stored())].filter(([id]) => uploadsOf.get(account.username)?.has(id));
    return JSON.stringify([rows.map(({ id }) => id), objects]) === expected;
  }, `the media of ${account.username} to be ${expected}`);
}

/** The ids of media that were seen in Postgres, by who uploaded them. */
const uploadsOf = new Map<string, Set<string>>();

async function noteUploads(account: SignedIn): Promise<void> {
  const { rows } = await sql.query("SELECT id FROM media WHERE owner_id = $1", [account.id]);
  uploadsOf.set(account.username, new Set([...(uploadsOf.get(account.username) ?? []), ...rows.map(({ id }) => id)]));
}

t.test("an avatar is taken at once, processed, and shown wherever its owner is", async (t) => {
  const [ana, ben] = await Promise.all(["ana", "ben"].map((name) => client.register(name)));
  if (!ana || !ben) throw new Error("nobody is there");
  t.same((await ana.request("GET", "/me/avatar")).body, { avatar_url: null, upload: null });
  const answer = await put(ana, photo);
  t.equal(answer.status, 200);
  t.same(answer.body, (await ana.request("GET", "/me")).body, "the account");
  const url = String((await settled(ana)).avatar_url);
  t.match(url, /\/media\/[\w-]{36}\/small\.webp$/, "of a public account without a ticket");

  const shown = await client.request("GET", url);
  t.equal(shown.status, 200);
  t.equal(shown.headers.get("cache-control"), "public, max-age=60");
  t.match(await sharp(shown.bytes).metadata(), { width: 320, height: 320, format: "webp" });
  const [red = 0] = await colourAt(shown.bytes, 0.05, 0.05);
  t.ok(Math.abs(red - CORNERS.topLeft[0]) < 40, "it is the picture");

  await ana.request("POST", "/users/ben/follow");
  await ben.request("POST", "/users/ana/follow");
  const post = await publish(ana, [other]);
  const read = async (path: string) => (await ben.request("GET", path)).body;
  t.equal((await ana.request("GET", "/me")).body.avatar_url, url);
  t.equal((await read("/users/ana")).avatar_url, url);
  t.equal((await read("/users/ben/followers")).items[0].avatar_url, url);
  t.equal((await read("/users/ben/following")).items[0].avatar_url, url);
  t.equal((await read(`/posts/${post.id}`)).author.avatar_url, url);
  t.equal((await read("/feed")).items[0].author.avatar_url, url);
  t.equal((await read("/users/ana/posts")).items[0].author.avatar_url, url);
  t.equal((await ana.request("GET", "/me")).body.post_count, 1, "an avatar is no post");
});

t.test("a new one replaces it, and nothing of the old one stays", async (t) => {
  const cleo = await client.register("cleo");
  const first = await setAvatar(cleo, photo);
  await noteUploads(cleo);
  t.equal((await put(cleo, other)).body.avatar_url, first, "until then the old one is shown");
  await noteUploads(cleo);
  const { avatar_url: second } = await settled(cleo);
  t.equal((await stored()).get(mediumOf(second)), 5, "an original and four renditions");
  t.not(second, first);
  t.equal(await statusOf(first), 404, "at once");
  t.equal(await statusOf(second), 200);
  await onlyAvatarLeft(cleo, second);

  const { status, body } = await cleo.request("DELETE", "/me/avatar");
  t.match({ status, body }, { status: 200, body: { username: "cleo", avatar_url: null } });
  t.equal(await statusOf(second), 404);
  t.equal((await cleo.request("DELETE", "/me/avatar")).status, 200, "twice is once");
  await onlyAvatarLeft(cleo, null);
});

t.test("what is no picture is refused as for posts, and changes nothing", async (t) => {
  const dora = await client.register("dora");
  const url = await setAvatar(dora, photo);
  const refused: [what: string, form: FormData, status: number, code: string][] = [
    ["a PDF", form([pdf()]), 415, "UNSUPPORTED_FORMAT"],
    ["nothing", form([]), 422, "MEDIA_MISSING"],
    ["an empty file", form([Buffer.alloc(0)]), 422, "EMPTY_FILE"],
    ["two", form([photo, photo]), 422, "TOO_MANY_MEDIA"],
    ["another field", form([photo], "media"), 400, "INVALID_REQUEST"],
    ["too large", form([Buffer.concat([photo, Buffer.alloc(1_048_576)])]), 413, "FILE_TOO_LARGE"],
    ["too many pixels", form([bomb()]), 422, "TOO_MANY_PIXELS"],
  ];
  const caption = form([photo]);
  caption.append("caption", "me");
  refused.push(["a field of a post", caption, 400, "INVALID_REQUEST"]);
  for (const [what, sent, status, code] of refused) {
    const answer = await dora.request("PUT", "/me/avatar", { form: sent });
    t.match(answer, { status, body: { error: { code } } }, `${what}: ${answer.body?.error?.message}`);
  }
  t.match(await dora.request("PUT", "/me/avatar", { json: {} }), { status: 415 });
  t.equal((await client.request("PUT", "/me/avatar", { form: form([photo]) })).status, 401);
  t.equal((await client.request("DELETE", "/me/avatar")).status, 401);
  t.same((await dora.request("GET", "/me/avatar")).body, { avatar_url: url, upload: null });
  await waitFor(async () => (await readdir(join(dataDir, "staging"))).length === 0, "staging to be empty");
  await noteUploads(dora);
  await onlyAvatarLeft(dora, url);
});

t.test("a picture that cannot be decoded says so, and the next one takes its place", async (t) => {
  const eva = await client.register("eva");
  const url = await setAvatar(eva, photo);
  t.equal((await put(eva, truncated(photo))).status, 200);
  await noteUploads(eva);
  t.same((await eva.request("GET", "/me/avatar")).body, {
    avatar_url: url,
    upload: { status: "processing", failure: null },
  });
  const failed = await settled(eva);
  t.match(failed, { avatar_url: url, upload: { status: "failed", failure: { code: "PICTURE_UNREADABLE" } } });
  t.equal(await statusOf(url), 200, "the old one stays");
  const next = await setAvatar(eva, other);
  await noteUploads(eva);
  await onlyAvatarLeft(eva, next);
});

t.test("of uploads at once one is left, whatever comes between", async (t) => {
  const fay = await client.register("fay");
  for (const deletions of [0, 0, 3]) {
    const answers = await Promise.all([
      ...Array.from({ length: 6 }, (_, n) => put(fay, n % 2 ? photo : other)),
      ...Array.from({ length: deletions }, () => fay.request("DELETE", "/me/avatar")),
    ]);
    t.same([...new Set(answers.map(({ status }) => status))], [200]);
    await noteUploads(fay);
    // While one is being processed it is overtaken again.
    if (deletions === 0) t.equal((await put(fay, photo)).status, 200);
    await noteUploads(fay);
    const { avatar_url, upload } = await settled(fay);
    t.equal(upload, null);
    if (deletions === 0) t.equal(await statusOf(avatar_url), 200);
    await onlyAvatarLeft(fay, avatar_url);
  }
  t.ok((uploadsOf.get("fay")?.size ?? 0) > 10, "there was something to remove");
});

t.test("an upload that is taken back while it is processed leaves nothing", async (t) => {
  const gil = await client.register("gil");
  for (const wait of [0, 10, 30, 60, 120]) {
    await put(gil, photo);
    await noteUploads(gil);
    await new Promise((resolve) => setTimeout(resolve, wait));
    t.match((await gil.request("DELETE", "/me/avatar")).body, { avatar_url: null }, `after ${wait} ms`);
    t.same((await gil.request("GET", "/me/avatar")).body, { avatar_url: null, upload: null });
  }
  await onlyAvatarLeft(gil, null);
});

t.test("a private account's avatar is for those who may know of it", async (t) => {
  const [hal, ida, jon] = await Promise.all(["hal", "ida", "jon"].map((name) => client.register(name)));
  if (!hal || !ida || !jon) throw new Error("nobody is there");
  const open = await setAvatar(hal, photo);
  await hal.request("PATCH", "/me", { json: { is_private: true } });
  t.equal(await statusOf(open), 404, "whoever holds the URL is nobody");
  const urls = await Promise.all(
    [hal, ida, jon].map(async (by) => String((await by.request("GET", "/users/hal")).body.avatar_url)),
  );
  t.equal(new Set(urls).size, 3, "each has a URL of their own");
  for (const url of urls) {
    const { status, headers } = await client.request("GET", url);
    t.match({ status, cache: headers.get("cache-control") }, { status: 200, cache: "private, max-age=60" });
  }
  await hal.request("POST", "/users/jon/block");
  t.equal((await jon.request("GET", "/users/hal")).status, 404);
  t.same(await Promise.all(urls.map(statusOf)), [200, 200, 404], "the blocked are shown nothing, by an old URL either");
  await ida.request("POST", "/users/hal/block");
  t.equal(await statusOf(String(urls[1])), 200, "who blocks still knows whom");
});

t.test("who is suspended in the middle of it changes nothing", async (t) => {
  const lea = await client.register("lea");
  const url = await setAvatar(lea, photo);
  await noteUploads(lea);
  const operator = await sql.connect();
  try {
    for (const change of [() => put(lea, other), () => lea.request("DELETE", "/me/avatar")]) {
      await operator.query("BEGIN");
      await operator.query("UPDATE users SET state = 'suspended' WHERE id = $1", [lea.id]);
      const answer = change();
      await waitFor(async () => {
        const { rows } = await operator.query(
          "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
        );
        return rows.length > 0;
      }, "the request to wait for the account");
      await operator.query("COMMIT");
      t.equal((await answer).status, 401);
      await operator.query("UPDATE users SET state = 'active' WHERE id = $1", [lea.id]);
    }
  } finally {
    operator.release();
  }
  t.same((await lea.request("GET", "/me/avatar")).body, { avatar_url: url, upload: null });
  await onlyAvatarLeft(lea, url);
});

t.test("an account that goes takes its avatar along", async (t) => {
  const kim = await client.register("kim");
  const url = await setAvatar(kim, photo);
  await noteUploads(kim);
  const [deleted, ...uploads] = await Promise.all([
    kim.request("DELETE", "/me", { json: { password: kim.password } }),
    ...Array.from({ length: 4 }, () => put(kim, other)),
  ]);
  t.equal(deleted.status, 202);
  t.ok(
    uploads.every(({ status }) => status === 200 || status === 401),
    "an upload comes before or not at all",
  );
  t.equal(await statusOf(url), 404, "at once");
  await onlyAvatarLeft(kim, null);
  await waitFor(async () => {
    const known = new Set((await sql.query("SELECT id FROM media")).rows.map(({ id }) => id));
    return [...(await stored()).keys()].every((id) => known.has(id));
  }, "no object to be left that nobody knows of");
});
