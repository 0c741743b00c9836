import { randomBytes, randomUUID } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import t, { type Test } from "tap";
import { openFilesystemStore } from "../../src/drivers/media/filesystem.ts";
import { migratingStore } from "../../src/drivers/media/migrating.ts";
import type { ByteRange, MediaStore } from "../../src/ports/media.ts";
import { s3Store } from "../support/product/s3.ts";
import { temporaryFolder } from "../support/server.ts";
import { s3Service } from "../support/services.ts";

/** Every driver of the port, and how an empty store of it is had; undefined where its service is not to be had here. */
const DRIVERS: Record<string, (test: Test) => Promise<MediaStore | undefined>> = {
  filesystem: async (test) => openFilesystemStore(join(await temporaryFolder(test), "media")),
  "two as one, while media are moved": async (test) => {
    const folder = await temporaryFolder(test);
    const [next, old] = await Promise.all(["next", "old"].map((name) => openFilesystemStore(join(folder, name))));
    return next && old && migratingStore(next, old);
  },
  "S3 of MinIO": (test) => openOn(test, "minio"),
  "S3 of versitygw": (test) => openOn(test, "versitygw"),
};

async function openOn(test: Test, kind: "minio" | "versitygw"): Promise<MediaStore | undefined> {
  const service = await s3Service(test, { kind });
  return service && s3Store(test, service);
}

const KEY = "renditions/7f/0198f0a4-0000-7000-8000-00000000007f/large.webp";

for (const [driver, open] of Object.entries(DRIVERS)) {
  t.test(`the contract of a media store: ${driver}`, async (t) => {
    const store = await open(t);
    if (!store) return;
    const staging = await temporaryFolder(t);
    const stage = async (bytes: Buffer) => {
      const path = join(staging, randomUUID());
      await writeFile(path, bytes, { mode: 0o600 });
      return path;
    };
    const put = async (key: string, bytes: Buffer) => store.putFile(key, await stage(bytes));
    const read = async (key: string, range?: ByteRange) => {
      const object = await store.read(key, range);
      return object && { size: object.size, bytes: await buffer(object.body) };
    };

    t.test("it knows whether it holds anything", async (t) => {
      t.equal(await store.isEmpty(), true);
      await put(KEY, Buffer.from("picture"));
      t.equal(await store.isEmpty(), false);
      await store.remove([KEY]);
      t.equal(await store.isEmpty(), true);
    });

    t.test("what was put is read, whole or in part", async (t) => {
      const bytes = randomBytes(700_000);
      await put(KEY, bytes);
      t.same(await read(KEY), { size: bytes.length, bytes });
      for (const [start, end] of [
        [0, 0],
        [0, 99],
        [300_000, 650_000],
        [bytes.length - 1, bytes.length - 1],
      ] as const) {
        t.same(
          await read(KEY, { start, end }),
          { size: bytes.length, bytes: bytes.subarray(start, end + 1) },
          `${start}-${end}`,
        );
      }
      await put("originals/00/empty", Buffer.alloc(0));
      t.same(await read("originals/00/empty"), { size: 0, bytes: Buffer.alloc(0) });
      t.same([await store.size(KEY), await store.size("originals/00/empty")], [bytes.length, 0]);
    });

    t.test("a local file has the object's bytes", async (t) => {
      await put(KEY, Buffer.from("picture"));
      const file = await store.localFile(KEY);
      t.equal(file && (await readFile(file.path, "utf8")), "picture");
      await file?.release();
      t.same((await read(KEY))?.bytes.toString(), "picture", "releasing it removes nothing");
    });

    t.test("it lists what is below a folder, and nothing else", async (t) => {
      await store.remove([KEY]);
      const before = Date.now();
      const keys = [
        "originals/7f/one",
        "renditions/7f/one/large.webp",
        "renditions/7f/one/v2/large.webp",
        "renditions/80/x",
      ];
      for (const [index, key] of keys.entries()) await put(key, Buffer.alloc(index + 1));
      const listed = async (folder: string) =>
        (await Array.fromAsync(store.list(folder))).map(({ key, bytes }) => `${bytes} ${key}`).sort();
      t.same(await listed("renditions/7f/one/"), [
        "2 renditions/7f/one/large.webp",
        "3 renditions/7f/one/v2/large.webp",
      ]);
      t.same(await listed("renditions/"), [
        "2 renditions/7f/one/large.webp",
        "3 renditions/7f/one/v2/large.webp",
        "4 renditions/80/x",
      ]);
      t.same(await listed("renditions/7/"), [], "a folder is more than the beginning of a name");
      t.equal((await listed("")).filter((line) => keys.some((key) => line.endsWith(` ${key}`))).length, keys.length);
      const [first] = await Array.fromAsync(store.list("renditions/80/"));
      const age = (first?.modified_at.getTime() ?? 0) - before;
      // Some stores count whole seconds.
      t.ok(age >= -2_000 && age < 60_000, `modified ${age} ms after the test began`);
      for (const folder of ["renditions", "/", "../", "A/"]) {
        await t.rejects(Array.fromAsync(store.list(folder)), /not a folder of media keys/, JSON.stringify(folder));
      }
      await store.remove(keys);
      t.same(await listed("renditions/"), []);
    });

    t.test("sweeping takes no object", async (t) => {
      await put(KEY, Buffer.from("picture"));
      t.equal(await store.sweep(0), 0);
      t.equal((await read(KEY))?.bytes.toString(), "picture");
    });

    t.test("what is not there is null, and may be removed", async (t) => {
      t.equal(await store.read("originals/00/absent"), null);
      t.equal(await store.size("originals/00/absent"), null);
      t.equal(await store.localFile("originals/00/absent"), null);
      await store.remove(["originals/00/absent", "never/there/at-all.webp"]);
      await store.remove([]);
    });

    t.test("remove takes exactly what it names, and twice is as once", async (t) => {
      const sibling = KEY.replace("large", "small");
      await put(KEY, Buffer.from("large"));
      await put(sibling, Buffer.from("small"));
      for (let time = 0; time < 2; time++) {
        await store.remove([KEY, "originals/00/absent"]);
        t.equal(await store.read(KEY), null);
        t.equal((await read(sibling))?.bytes.toString(), "small");
      }
      await store.remove([sibling]);
      await put(KEY, Buffer.from("again"));
      t.equal((await read(KEY))?.bytes.toString(), "again", "a key may be used again");
    });

    t.test("keys that are none are refused by every call", async (t) => {
      for (const key of [
        "",
        "one",
        "/a/b",
        "a/b/",
        "a//b",
        "a/../b",
        "../a/b",
        "a/.b",
        "a/b..webp",
        "A/b",
        "a/b\0",
        "a\\b/c",
        "a/b c",
      ]) {
        const path = await stage(Buffer.from("x"));
        const calls: Array<() => Promise<unknown>> = [
          () => store.putFile(key, path),
          () => store.read(key),
          () => store.size(key),
          () => store.localFile(key),
          () => store.remove([key]),
        ];
        for (const call of calls) {
          await t.rejects(call(), /not a media key/, JSON.stringify(key));
        }
      }
    });

    t.test("a reader during replacements sees one object, whole", async (t) => {
      const versions = [1, 2, 3, 4].map((n) => Buffer.alloc(400_000 + n, n));
      await put(KEY, versions[0] ?? Buffer.alloc(0));
      let replacing = true;
      const writers = Promise.all(
        versions.map(async (bytes) => {
          for (let time = 0; time < 15; time++) await put(KEY, bytes);
        }),
      ).finally(() => {
        replacing = false;
      });
      let reads = 0;
      while (replacing) {
        const seen = await read(KEY);
        reads++;
        const whole = versions.some((bytes) => seen?.size === bytes.length && seen.bytes.equals(bytes));
        if (!whole) t.fail(`a mixture or a part: ${seen?.size} ${seen?.bytes.length}`);
      }
      await writers;
      t.ok(reads > 0, `${reads} reads`);
    });

    t.test("a reader that began before a removal reads to the end", async (t) => {
      const bytes = randomBytes(3_000_000);
      await put(KEY, bytes);
      const object = await store.read(KEY);
      await store.remove([KEY]);
      t.ok(object && (await buffer(object.body)).equals(bytes));
    });

    t.test("puts and removals beside each other do not hurt each other", async (t) => {
      const one = async (n: number) => {
        const key = `originals/5a/object-${n}`;
        for (let time = 0; time < 40; time++) {
          await put(key, Buffer.from(key));
          if ((await read(key))?.bytes.toString() !== key) t.fail(`${key} is lost`);
          await store.remove([key]);
        }
      };
      await t.resolves(Promise.all([one(1), one(2), one(3)]));
    });

    t.test("a file that is not there is no object, and no outage", async (t) => {
      await t.rejects(store.putFile("originals/00/nothing", join(staging, "nothing")), { code: "ENOENT" });
      t.equal(await store.read("originals/00/nothing"), null);
    });

    t.test("it says that it can be used", (t) => t.resolves(store.check()));
  });
}
