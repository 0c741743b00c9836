import { readdir } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { objectsOf, tintype } from "../support/backup.ts";
import { postForm } from "../support/client.ts";
import { picture } from "../support/pictures.ts";
import { waitFor } from "../support/server.ts";
import { startService } from "../support/service.ts";

const photo = await picture({ width: 900, height: 600, quality: 95 });
const small = await picture({ width: 20, height: 20 });
const size = photo.length;
// Room for two, and a bit.
const quota = Math.ceil((2.5 * size) / 1024) * 1024;
const { client, dataDir, env } = await startService(t, { TINTYPE_MEDIA_QUOTA: `${quota / 1024}kb` });
const ana = await client.register("ana");
const bob = await client.register("bob");

type Person = typeof ana;
const upload = (person: Person, ...pictures: Buffer[]) =>
  person.request("POST", "/posts", { form: postForm(pictures) });
const usage = async (person: Person) => (await person.request("GET", "/me/usage")).body;
const set = (...args: string[]) => tintype(["media", "quota", ...args], env);
const originals = async () =>
  Object.keys(await objectsOf(dataDir)).filter((key) => key.startsWith("originals/")).length;

t.test("of uploads at once, those are taken for which there is room", async (t) => {
  t.same(await usage(ana), { used_bytes: 0, quota_bytes: quota });
  const answers = await Promise.all(Array.from({ length: 6 }, () => upload(ana, photo)));
  const refused = answers.filter(({ status }) => status === 422);
  t.same([answers.filter(({ status }) => status === 202).length, refused.length], [2, 4]);
  for (const { body } of refused) {
    t.match(body.error, { code: "QUOTA_EXCEEDED", details: { quota_bytes: quota, upload_bytes: size } });
    t.equal(body.error.details.used_bytes, 2 * size);
  }
  t.same(await usage(ana), { used_bytes: 2 * size, quota_bytes: quota });
  await waitFor(async () => (await originals()) === 2, "the others' originals to be gone");
  t.same((await ana.request("GET", "/users/ana/posts")).status, 200);
});

t.test("an upload counts as a whole, and so does an avatar", async (t) => {
  t.equal((await upload(ana, small, photo)).status, 422, "all of it or nothing");
  const form = new FormData();
  form.append("file", new Blob([Uint8Array.from(photo)]), "me.jpg");
  t.equal((await ana.request("PUT", "/me/avatar", { form })).body.error.code, "QUOTA_EXCEEDED");
  t.equal((await usage(ana)).used_bytes, 2 * size);
  t.equal((await upload(ana, small)).status, 202, "what fits is taken");
  t.equal((await upload(bob, photo)).status, 202, "another's room is another's");
});

t.test("an operator gives an account more, less, or no limit", async (t) => {
  const used = 2 * size + small.length;
  t.same(await set("ana"), { username: "ana", used_bytes: used, quota_bytes: quota, set_for: "everybody" });
  t.same(await set("ana", "none"), { username: "ana", used_bytes: used, quota_bytes: null, set_for: "account" });
  t.equal((await upload(ana, photo)).status, 202);
  t.same(await usage(ana), { used_bytes: used + size, quota_bytes: null });
  t.match(await set("ana", "1kb"), { quota_bytes: 1024, set_for: "account" });
  const { error } = (await upload(ana, small)).body;
  t.match(error, { code: "QUOTA_EXCEEDED", details: { used_bytes: used + size, quota_bytes: 1024 } });
  t.ok(error.details.upload_bytes > small.length, "refused by the length of the request, before it is read");
  t.same(await readdir(join(dataDir, "staging")), []);
  t.match(await set("ana", "default"), { quota_bytes: quota, set_for: "everybody" });
  t.match(await set("bob", "0"), { quota_bytes: 0 });
  t.equal((await upload(bob, small)).status, 422);
});

t.test("what is deleted makes room at once", async (t) => {
  const posts = () => ana.request("GET", "/users/ana/posts");
  const items = await waitFor(async () => {
    const { body } = await posts();
    return body.items.length === 4 && body.items;
  }, "her posts");
  t.equal((await upload(ana, photo)).status, 422);
  for (const { id } of items) t.equal((await ana.request("DELETE", `/posts/${id}`)).status, 204);
  t.equal((await usage(ana)).used_bytes, 0);
  t.equal((await upload(ana, photo, photo)).status, 202);
});

t.test("wrong usage", async (t) => {
  await Promise.all([
    tintype(["media", "quota", "ana", "much"], env, 2),
    tintype(["media", "quota"], env, 2),
    tintype(["media", "quota", "nobody", "1gb"], env, 1).then(({ error }) => t.match(error.hint, "users list")),
  ]);
});
