import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import {
  access,
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  statfs,
  utimes,
  writeFile,
} from "node:fs/promises";
import { dirname, join } from "node:path";
import { buffer } from "node:stream/consumers";
import t from "tap";
import { temporaryFolder } from "../../../test/support/server.ts";
import { DependencyError } from "../../errors.ts";
import { openFilesystemStore } from "./filesystem.ts";

const KEY = "renditions/7f/0198f0a4-0000-7000-8000-00000000007f/large.webp";

t.test("the filesystem driver", async (t) => {
  const isRoot = process.getuid?.() === 0;
  const objects = async (root: string) =>
    (await readdir(root, { recursive: true, withFileTypes: true }))
      .filter((entry) => entry.isFile() && entry.parentPath !== root)
      .map(({ name }) => name);

  t.test("keeps objects to its own account", async (t) => {
    const folder = await temporaryFolder(t);
    const root = join(folder, "media");
    const store = await openFilesystemStore(root);
    await writeFile(join(folder, "staged"), "x", { mode: 0o600 });
    await store.putFile(KEY, join(folder, "staged"));
    t.equal((await stat(root)).mode & 0o777, 0o700);
    t.equal((await stat(join(root, KEY))).mode & 0o777, 0o600);
    await t.rejects(access(join(folder, "staged")), { code: "ENOENT" }, "the staged file was taken");
    await store.remove([KEY]);
    t.same(await readdir(join(root, "renditions/7f")), [], "a medium's folder goes with its last object");
  });

  t.test("shares renditions with its group where nginx sends them, and nothing else", async (t) => {
    const folder = await temporaryFolder(t);
    const root = join(folder, "media");
    const umask = process.umask(0o077);
    t.teardown(() => process.umask(umask));
    const store = await openFilesystemStore(root, { shared: true });
    for (const key of [KEY, "originals/7f/one", "exports/7f/one"]) {
      await writeFile(join(folder, "staged"), "x", { mode: 0o600 });
      await store.putFile(key, join(folder, "staged"));
    }
    const modeOf = async (path: string) => (await stat(join(root, path))).mode & 0o777;
    for (const path of ["", "renditions", "renditions/7f", dirname(KEY)]) t.equal(await modeOf(path), 0o750, path);
    t.equal(await modeOf(KEY), 0o640);
    for (const path of ["originals", "originals/7f", "exports/7f"]) t.equal(await modeOf(path), 0o700, path);
    for (const path of ["originals/7f/one", "exports/7f/one"]) t.equal(await modeOf(path), 0o600, path);
  });

  t.test("is not made where it is only moved from", async (t) => {
    const folder = await temporaryFolder(t);
    const root = join(folder, "media");
    await t.rejects(openFilesystemStore(root, { make: false }), { name: "ConfigError", hint: /TINTYPE_DATA_DIR/ });
    t.same(await readdir(folder), []);
    await openFilesystemStore(root);
    await (await openFilesystemStore(root, { make: false })).check();
  });

  t.test("sweeps copies that were killed half way, once they are old", async (t) => {
    const root = join(await temporaryFolder(t), "media");
    const store = await openFilesystemStore(root);
    await mkdir(join(root, "originals/7f"), { recursive: true });
    const part = join(root, "originals/7f", `one.${randomUUID()}.part`);
    await writeFile(part, "half");
    t.same(await Array.fromAsync(store.list("")), [], "they are no objects");
    t.equal(await store.sweep(3_600_000), 0);
    await access(part);
    await utimes(part, new Date(0), new Date(0));
    t.equal(await store.sweep(3_600_000), 1);
    await t.rejects(access(part), { code: "ENOENT" });
  });

  const shared = await stat("/dev/shm").catch(() => null);
  const here = await stat(await temporaryFolder(t));
  const elsewhere = shared && shared.dev !== here.dev ? {} : { skip: "/dev/shm is no other file system" };

  t.test("takes files from another file system, also the same key twice at once", elsewhere, async (t) => {
    const staging = await mkdtemp("/dev/shm/tintype-test-");
    t.teardown(() => rm(staging, { recursive: true, force: true }));
    const root = join(await temporaryFolder(t), "media");
    const store = await openFilesystemStore(root);
    const versions = [1, 2, 3].map((n) => Buffer.alloc(2_000_000 + n, n));
    for (let time = 0; time < 5; time++) {
      const paths = await Promise.all(
        versions.map(async (bytes) => {
          const path = join(staging, randomUUID());
          await writeFile(path, bytes);
          return path;
        }),
      );
      await Promise.all(paths.map((path) => store.putFile(KEY, path)));
      const object = await store.read(KEY);
      const seen = object && (await buffer(object.body));
      t.ok(
        versions.some((bytes) => seen?.equals(bytes)),
        "one of them, whole",
      );
    }
    t.same(await readdir(staging), [], "the staged files were taken");
    t.same(await objects(root), ["large.webp"], "no part is left");
  });

  t.test("a full disk is an outage, and nothing is left of the try", { skip: !isRoot && "needs root" }, async (t) => {
    const root = await mkdtemp(join(await temporaryFolder(t), "disk-"));
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", root], { stdio: "pipe" });
    } catch {
      return t.pass("a full disk", { skip: "no file system can be mounted here" });
    }
    t.teardown(() => execFileSync("umount", [root]));
    const store = await openFilesystemStore(root);
    const staged = join(await temporaryFolder(t), "staged");
    await writeFile(staged, Buffer.alloc(2_000_000));
    const free = (await statfs(root)).bfree;
    await t.rejects(store.putFile(KEY, staged), DependencyError);
    t.equal(await store.read(KEY), null);
    t.same(await objects(root), []);
    t.equal((await statfs(root)).bfree, free, "the disk is as full as before");
    await access(staged);
    await writeFile(staged, "small");
    await store.putFile(KEY, staged);
  });

  t.test(
    "a folder that may not be written is an outage",
    { skip: isRoot && "root may write everywhere" },
    async (t) => {
      const root = join(await temporaryFolder(t), "media");
      const store = await openFilesystemStore(root);
      await chmod(root, 0o500);
      t.teardown(() => chmod(root, 0o700));
      await t.rejects(store.check(), DependencyError);
    },
  );

  t.test("a disk that cannot be written is found by the check", { skip: !isRoot && "needs root" }, async (t) => {
    const root = await mkdtemp(join(await temporaryFolder(t), "disk-"));
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", root], { stdio: "pipe" });
    } catch {
      return t.pass("a full disk", { skip: "no file system can be mounted here" });
    }
    t.teardown(() => execFileSync("umount", [root]));
    const store = await openFilesystemStore(root);
    await store.check();
    t.same(await readdir(root), ["tintype-store.txt"], "it leaves nothing");
    await t.rejects(writeFile(join(root, "ballast"), Buffer.alloc(128 * 1024)), { code: "ENOSPC" });
    await t.rejects(store.check(), DependencyError);
    await rm(join(root, "ballast"));
    await store.check();
    execFileSync("mount", ["-o", "remount,ro", root]);
    await t.rejects(store.check(), DependencyError);
  });

  for (const [what, leave] of [
    ["is gone", async () => undefined],
    ["is empty, as that of a disk that is not mounted", (root: string) => mkdir(root)],
  ] as const) {
    t.test(`a root that ${what} is an outage, and is not made anew`, async (t) => {
      const folder = await temporaryFolder(t);
      const root = join(folder, "media");
      const staged = join(folder, "staged");
      const store = await openFilesystemStore(root);
      await writeFile(staged, "x");
      await store.putFile(KEY, staged);
      await writeFile(staged, "y");
      await rename(root, join(folder, "away"));
      await leave(root);

      const sibling = KEY.replace("large", "small");
      const calls: Array<() => Promise<unknown>> = [
        () => store.check(),
        () => store.putFile(sibling, staged),
        () => store.read(KEY),
        () => store.size(KEY),
        () => store.localFile(KEY),
        () => store.remove([KEY]),
        () => openFilesystemStore(root),
      ];
      for (const call of calls)
        await t.rejects(call(), { name: "DependencyError", hint: /Mount .* remove .*media\.made/ });
      t.same(await readdir(root).catch(() => []), [], "nothing is put in its place");
      t.equal(await readFile(staged, "utf8"), "y", "what was to be put is still there");

      await rm(root, { recursive: true, force: true });
      await rename(join(folder, "away"), root);
      await store.putFile(sibling, staged);
      for (const key of [KEY, sibling]) t.ok(await store.localFile(key), "all is there when it is back");

      await rm(root, { recursive: true });
      await rm(`${root}.made`);
      await (await openFilesystemStore(root)).check();
      t.equal(await store.read(KEY), null, "a new store, where the operator says so");
    });
  }

  t.test("is made where nothing is, by several processes at once", async (t) => {
    const folder = await temporaryFolder(t);
    for (let round = 0; round < 10; round++) {
      const root = join(folder, `media-${round}`);
      // The root of a new file system.
      if (round % 2 === 0) await mkdir(join(root, "lost+found"), { recursive: true });
      const stores = await Promise.all(Array.from({ length: 8 }, () => openFilesystemStore(root)));
      await Promise.all(stores.map((store) => store.check()));
    }
    const strange = join(folder, "strange");
    await mkdir(strange);
    await writeFile(join(strange, "notes.txt"), "");
    await t.rejects(openFilesystemStore(strange), { name: "DependencyError", hint: /tintype-store\.txt/ });
    t.same(await readdir(strange), ["notes.txt"]);
    await writeFile(join(strange, "tintype-store.txt"), "");
    await (await openFilesystemStore(strange)).check();
  });
});
