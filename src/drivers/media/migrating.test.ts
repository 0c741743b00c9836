import { createHash, randomUUID } from "node:crypto";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import t, { type Test } from "tap";
import { exactly } from "../../../test/support/exactly.ts";
import { temporaryFolder } from "../../../test/support/server.ts";
import { UnreadableObjectError } from "../../errors.ts";
import type { MediaStore } from "../../ports/media.ts";
import { type CopyReport, copyObjects } from "./copying.ts";
import { openFilesystemStore } from "./filesystem.ts";
import { migratingStore } from "./migrating.ts";

const KEYS = ["originals/7f/one", "originals/7f/two", "renditions/7f/one/large.webp", "exports/7f/one"];

interface Stores {
  old: MediaStore;
  next: MediaStore;
  both: MediaStore;
  data_dir: string;
  put(store: MediaStore, key: string, content?: string): Promise<void>;
}

async function stores(t: Test): Promise<Stores> {
  const data_dir = await temporaryFolder(t);
  await mkdir(join(data_dir, "staging"));
  const [old, next] = await Promise.all([
    openFilesystemStore(join(data_dir, "old")),
    openFilesystemStore(join(data_dir, "next")),
  ]);
  const put = async (store: MediaStore, key: string, content = key) => {
    const path = join(data_dir, randomUUID());
    await writeFile(path, content);
    await store.putFile(key, path);
  };
  for (const key of KEYS) await put(old, key);
  return { old, next, both: migratingStore(next, old), data_dir, put };
}

const sha256 = (content: string) => createHash("sha256").update(content).digest();
const contentOf = async (store: MediaStore, key: string) => {
  const object = await store.read(key);
  return object && text(object.body);
};
const keysOf = async (store: MediaStore) => (await Array.fromAsync(store.list(""))).map(({ key }) => key).sort();

/** What the rows say: the content of an object is its key. */
function copy(
  { old, next, data_dir }: Stores,
  options: Partial<Parameters<typeof copyObjects>[0]> = {},
): Promise<CopyReport> {
  return copyObjects({
    from: old,
    to: next,
    config: { data_dir },
    hashesOf: async (keys) => new Map(keys.map((key) => [key, sha256(key)])),
    verify: false,
    damaged: false,
    signal: new AbortController().signal,
    progress: () => undefined,
    ...options,
  });
}

t.test("while media are moved, both stores are one", async (t) => {
  const { old, next, both, put } = await stores(t);
  const [one = "", two = ""] = KEYS;
  await put(both, "originals/80/new");
  t.same(await keysOf(old), KEYS.toSorted(), "what is put goes to the new store");
  t.same(await keysOf(next), ["originals/80/new"]);
  t.same(await keysOf(both), [...KEYS, "originals/80/new"].sort());
  await put(next, one);
  t.same(await keysOf(both), [...KEYS, "originals/80/new"].sort(), "each is told once");
  t.same([await contentOf(both, one), await contentOf(both, two)], [one, two]);
  t.equal(await both.size(two), two.length);
  const file = await both.localFile(two);
  t.ok(file);
  await file?.release();
  const full: MediaStore = { ...old, check: () => Promise.reject(new Error("the disk is full")) };
  await migratingStore(next, full).check();
  const away: MediaStore = { ...old, isEmpty: () => Promise.reject(new Error("not there")) };
  await t.rejects(migratingStore(next, away).check(), { message: "not there" }, "the old one is asked");
  await both.remove([one, two]);
  t.same([await both.size(one), await both.size(two), await both.read(one)], [null, null, null]);
  t.same(await keysOf(old), KEYS.slice(2).sort());
  t.equal(await both.isEmpty(), false);
});

t.test("everything is copied, once", async (t) => {
  const all = await stores(t);
  const bytes = KEYS.join("").length;
  t.match(await copy(all), { copied: 4, copied_bytes: bytes, there: 0, damaged: 0, unreadable: 0 });
  for (const key of KEYS) t.equal(await contentOf(all.next, key), key);
  t.same(await keysOf(all.old), KEYS.toSorted(), "the old store keeps what it has");
  t.same(await readdir(join(all.data_dir, "staging")), []);
  t.match(await copy(all), { copied: 0, there: 4 });
  // As long as it should be, and wrong.
  const [one = ""] = KEYS;
  await all.put(all.next, one, "x".repeat(one.length));
  t.match(await copy(all), { copied: 0, there: 4 });
  t.match(await copy(all, { verify: true }), { copied: 1, there: 3 });
  t.equal(await contentOf(all.next, one), one);
});

t.test("what is damaged is named, and copied only if that is wanted", async (t) => {
  const all = await stores(t);
  const [one = ""] = KEYS;
  await all.put(all.old, one, "damaged");
  for (let time = 0; time < 2; time++) {
    t.match(await copy(all), { damaged: 1, keys: { damaged: exactly(one) } }, "each time");
    t.equal(await all.next.size(one), null);
  }
  t.match(await copy(all, { damaged: true }), { copied: 1, damaged: 1, there: 3 });
  t.equal(await contentOf(all.next, one), "damaged");
  t.match(
    await copy(all, { hashesOf: async () => new Map(), verify: true }),
    { damaged: 0, there: 4 },
    "unknown to rows",
  );
});

t.test("what is right in the new store is neither replaced by what is damaged nor told of", async (t) => {
  const all = await stores(t);
  const [one = "", two = ""] = KEYS;
  await copy(all);
  await all.put(all.old, one, "damaged");
  await all.put(all.old, two, "x".repeat(two.length));
  const unreadable: MediaStore = {
    ...all.old,
    read: async (key) => {
      if (key === two) throw new UnreadableObjectError(key, new Error("a bad block"));
      return all.old.read(key);
    },
  };
  for (const options of [
    {},
    { damaged: true },
    { verify: true, damaged: true },
    { from: unreadable, verify: true, damaged: true },
  ]) {
    t.match(await copy(all, options), { copied: 0, there: 4, damaged: 0, unreadable: 0 }, JSON.stringify(options));
    t.same([await contentOf(all.next, one), await contentOf(all.next, two)], [one, two]);
  }
  await all.put(all.next, one, "x".repeat(one.length));
  t.match(await copy(all), { copied: 0, damaged: 1, there: 3 }, "wrong in both");
});

t.test("what is removed while it is copied is not brought back", async (t) => {
  const all = await stores(t);
  const removing: MediaStore = {
    ...all.next,
    async putFile(key, path) {
      await all.both.remove([key]);
      await all.next.putFile(key, path);
    },
  };
  t.match(await copy(all, { to: removing }), { copied: 0, gone: 4 });
  t.same(await keysOf(all.both), []);
});

t.test("it goes on after an interruption, and says when the new store does not keep its word", async (t) => {
  const all = await stores(t);
  for (let n = 0; n < 20; n++) await all.put(all.old, `originals/80/${n}`);
  const ending = new AbortController();
  const interrupted: MediaStore = {
    ...all.next,
    async putFile(key, path) {
      ending.abort(new Error("interrupted"));
      await all.next.putFile(key, path);
    },
  };
  await t.rejects(copy(all, { to: interrupted, signal: ending.signal }), { message: "interrupted" });
  const { copied, there } = await copy(all);
  t.equal(copied + there, 24);
  t.ok(copied > 0 && there > 0, `${there} were there, ${copied} were left`);
  t.same(await keysOf(all.next), await keysOf(all.old));

  await all.put(all.old, "originals/80/late");
  const forgetful: MediaStore = { ...all.next, read: () => all.next.read(KEYS[0] ?? "") };
  await t.rejects(copy(all, { to: forgetful }), { name: "OperationError", message: /originals\/80\/late/ });
});
