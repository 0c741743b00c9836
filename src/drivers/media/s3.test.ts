import { createHash, randomBytes } from "node:crypto";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import pLimit from "p-limit";
import t, { type Test } from "tap";
import { type S3Config, s3Config, s3Store } from "../../../test/support/product/s3.ts";
import { type Fault, type S3Proxy, startS3Proxy } from "../../../test/support/s3-proxy.ts";
import { temporaryFolder, waitFor } from "../../../test/support/server.ts";
import { type S3Service, s3Service } from "../../../test/support/services.ts";
import type { MediaStore } from "../../ports/media.ts";
import { openS3Store, prepareBucket } from "./s3.ts";

const KEY = "originals/7f/0198f0a4-0000-7000-8000-00000000007f";
const MiB = 1024 * 1024;

let service: S3Service | undefined;

interface Place {
  store: MediaStore;
  proxy: S3Proxy;
  put(bytes: Buffer): Promise<void>;
  get(): Promise<Buffer | null>;
}

let places = 0;

/** A store behind a proxy, on a bucket of its own. */
async function place(t: Test, s3: Partial<S3Config["s3"]> = {}): Promise<Place> {
  if (!service) throw new Error("no S3 service");
  const proxy = await startS3Proxy(t, service.endpoint);
  const store = await s3Store(t, service, { endpoint: proxy.url, bucket: `${service.bucket}-${++places}`, ...s3 });
  const path = join(await temporaryFolder(t), "staged");
  proxy.seen.length = 0;
  return {
    store,
    proxy,
    put: async (bytes) => {
      await writeFile(path, bytes);
      await store.putFile(KEY, path);
    },
    get: async () => {
      const object = await store.read(KEY);
      return object && buffer(object.body);
    },
  };
}

const hash = (bytes: Buffer | null) => bytes && createHash("sha256").update(bytes).digest("hex");

/** The first so many requests go wrong. */
const first =
  (times: number, fault: Fault): Parameters<S3Proxy["break"]>[0] =>
  () =>
    times-- > 0 ? fault : null;

const down = { name: "DependencyError", exitCode: 4 };

t.test("the S3 driver, where things go wrong", async (t) => {
  service = await s3Service(t);
  if (!service) return;
  t.jobs = 8;

  t.test("a slow way is no outage, however long it takes", async (t) => {
    const { proxy, put, get } = await place(t, { timeout: 1_500 });
    proxy.break(() => ({ bytesPerSecond: MiB / 2 }));
    const bytes = randomBytes(2 * MiB);
    await put(bytes);
    t.equal(hash(await get()), hash(bytes));
  });

  for (const [what, fault] of [
    ["500", { status: 500, code: "InternalError" }],
    ["503 SlowDown", { status: 503, code: "SlowDown" }],
    ["a reset of the request half way", { resetAfter: 50_000, of: "request" }],
    ["a reset before the answer", { resetAfter: 0, of: "response" }],
  ] as const) {
    t.test(`${what}: tried again, and given up soon`, async (t) => {
      const { store, proxy, put, get } = await place(t);
      const bytes = randomBytes(300_000);
      proxy.break(first(2, fault));
      await put(bytes);
      t.equal(hash(await get()), hash(bytes));
      t.equal(proxy.seen.filter(({ method }) => method === "PUT").length, 3);

      proxy.break(({ method }) => (method === "PUT" || method === "GET" ? fault : null));
      const next = randomBytes(300_000);
      await t.rejects(put(next), down);
      if (!("of" in fault && fault.of === "request")) await t.rejects(get(), down);
      proxy.heal();
      // A store may have taken what it could not acknowledge.
      t.ok([hash(bytes), hash(next)].includes(hash(await get())), "what is there is whole");
      t.same(
        (await Array.fromAsync(store.list(""))).map(({ key }) => key),
        [KEY],
        "nothing is half made",
      );
    });
  }

  t.test("a store that hangs: every call ends", async (t) => {
    const { store, proxy, put } = await place(t, { timeout: 1_500 });
    const small = randomBytes(1_000);
    await put(small);
    proxy.break(() => "hang");
    const calls: Record<string, () => Promise<unknown>> = {
      putFile: () => put(small),
      "putFile in parts": () => put(randomBytes(9 * MiB)),
      read: () => store.read(KEY),
      size: () => store.size(KEY),
      localFile: () => store.localFile(KEY),
      remove: () => store.remove([KEY]),
      list: () => Array.fromAsync(store.list("")),
      sweep: () => store.sweep(0),
      isEmpty: () => store.isEmpty(),
      check: () => store.check(),
    };
    await Promise.all(Object.entries(calls).map(([name, call]) => t.rejects(call(), down, name)));
    proxy.heal();
    await store.check();
  });

  t.test("more uploads than have a place are told so, and not kept waiting by a store that hangs", async (t) => {
    const { store, proxy } = await place(t, { timeout: 1_000 });
    const folder = await temporaryFolder(t);
    proxy.break(() => "hang");
    const puts = Array.from({ length: 40 }, async (_, n) => {
      const path = join(folder, String(n));
      await writeFile(path, "x");
      return store.putFile(`originals/7f/${n}`, path);
    });
    const outcomes = await Promise.allSettled(puts);
    t.ok(outcomes.every((outcome) => outcome.status === "rejected" && outcome.reason.exitCode === 4));
    t.ok(proxy.seen.length < 40, `${proxy.seen.length} of 40 were sent`);
    t.equal((await readdir(folder)).length, 40, "what was not taken is still there");
  });

  t.test("a body that breaks off is read on from there", async (t) => {
    const { store, proxy, put, get } = await place(t, { timeout: 1_500 });
    const bytes = randomBytes(3 * MiB);
    await put(bytes);
    for (const fault of [{ resetAfter: MiB, of: "response" }, { silentAfter: MiB }] as const) {
      proxy.seen.length = 0;
      proxy.break(first(2, fault));
      t.equal(hash(await get()), hash(bytes), JSON.stringify(fault));
      t.match(proxy.seen.at(-1), { headers: { "if-match": /^"/, range: /^bytes=\d+-3145727$/ } });
      proxy.break(first(1, fault));
      const part = await store.read(KEY, { start: 10, end: 2 * MiB });
      t.equal(hash(part && (await buffer(part.body))), hash(bytes.subarray(10, 2 * MiB + 1)), "a range too");
    }
    proxy.break(({ method }) => (method === "GET" ? { resetAfter: 1_000, of: "response" } : null));
    await t.rejects(get(), { name: "UnreadableObjectError" }, "the store is there, and this object cannot be read");
    proxy.break(() => "hang");
    await t.rejects(get(), { name: "DependencyError" });
  });

  t.test("another object in its place is not mixed with it", async (t) => {
    const { store, proxy, put } = await place(t);
    await put(Buffer.alloc(3 * MiB, 1));
    proxy.break(first(1, { resetAfter: MiB, of: "response" }));
    const object = await store.read(KEY);
    await put(Buffer.alloc(3 * MiB, 2));
    await t.rejects(async () => object && buffer(object.body), { name: "UnreadableObjectError" });
  });

  t.test("a reader that takes its time is not cut off, and one that goes away leaves nothing open", async (t) => {
    const { store, put } = await place(t, { timeout: 1_500 });
    const bytes = randomBytes(4 * MiB);
    await put(bytes);
    const object = await store.read(KEY);
    const chunks: Buffer[] = [];
    for await (const chunk of object?.body ?? []) {
      if (chunks.length === 1) await delay(3_500);
      chunks.push(chunk);
    }
    t.equal(hash(Buffer.concat(chunks)), hash(bytes));
    const sockets = () => process.getActiveResourcesInfo().filter((name) => name === "TCPSocketWrap").length;
    const before = sockets();
    for (let n = 0; n < 10; n++) (await store.read(KEY))?.body.destroy();
    await waitFor(async () => sockets() <= before + 1, "the connections to be closed");
  });

  t.test("a connection that breaks while nobody reads ends no process", async (t) => {
    const { store, proxy, put } = await place(t);
    const bytes = randomBytes(3 * MiB);
    await put(bytes);
    proxy.break(first(1, { resetAfter: 1_000, of: "response" }));
    const object = await store.read(KEY);
    await delay(300);
    t.equal(hash(object && (await buffer(object.body))), hash(bytes));
  });

  t.test("an upload in parts that breaks is taken back, or swept", async (t) => {
    const { store, proxy, put, get } = await place(t);
    const bytes = randomBytes(20 * MiB);
    proxy.break(({ path }) => (/partNumber=2/.test(path) ? { status: 500, code: "InternalError" } : null));
    const aborts = (times: number) =>
      waitFor(
        async () => proxy.seen.filter(({ method }) => method === "DELETE").length === times,
        "the upload to be aborted",
      );
    await t.rejects(put(bytes), down);
    await aborts(1);
    t.equal(await get(), null);
    t.equal(await store.sweep(0), 0, "nothing is left to sweep");

    proxy.break(({ path, method }) =>
      /partNumber=2/.test(path) || method === "DELETE" ? { status: 403, code: "AccessDenied" } : null,
    );
    await t.rejects(put(bytes), down);
    await aborts(2);
    proxy.heal();
    t.equal(await store.sweep(3_600_000), 0, "it may still be under way");
    t.equal(await store.sweep(0), 1);
    t.equal(await store.sweep(0), 0);

    proxy.break(({ path }) => (/partNumber=3/.test(path) ? { bytesPerSecond: 20 * MiB } : null));
    await put(bytes);
    t.equal(hash(await get()), hash(bytes));
  });

  t.test("two puts of one large key at once: one of them, whole", async (t) => {
    const { store, get } = await place(t);
    const folder = await temporaryFolder(t);
    const versions = [1, 2, 3].map((n) => Buffer.alloc(17 * MiB + n, n));
    await Promise.all(
      versions.map(async (bytes, n) => {
        const path = join(folder, String(n));
        await writeFile(path, bytes);
        await store.putFile(KEY, path);
      }),
    );
    const seen = await get();
    t.ok(versions.some((bytes) => seen?.equals(bytes)));
    t.equal(await store.sweep(0), 0);
  });

  t.test("more objects than one page of a list has", async (t) => {
    const { store } = await place(t);
    const folder = await temporaryFolder(t);
    const keys = Array.from({ length: 1_005 }, (_, n) => `originals/7f/${n}`);
    const limit = pLimit(16);
    await limit.map(keys, async (key, n) => {
      const path = join(folder, String(n));
      await writeFile(path, "x");
      await store.putFile(key, path);
    });
    const listed = (await Array.fromAsync(store.list("originals/"))).map(({ key }) => key);
    t.same(listed.sort(), keys.toSorted());
    await store.remove(keys);
    t.equal(await store.isEmpty(), true, "and they are removed at once");
  });

  t.test("wrong credentials, and no bucket", async (t) => {
    if (!service) return;
    const wrong = await s3Config(t, service, { secret_key: "not-the-secret" });
    await t.rejects(prepareBucket(wrong, { make: true }), { name: "ConfigError", hint: /TINTYPE_S3_SECRET_KEY/ });
    const refused = openS3Store(wrong);
    t.teardown(() => refused.close());
    await t.rejects(refused.read(KEY), { ...down, hint: /TINTYPE_S3_SECRET_KEY/ });

    const config = await s3Config(t, service, { bucket: "tintype-test-absent" });
    await t.rejects(prepareBucket(config, { make: false }), { name: "ConfigError", hint: /tintype migrate/ });
    const store = openS3Store(config);
    t.teardown(() => store.close());
    const calls: (() => Promise<unknown>)[] = [
      () => store.check(),
      () => store.read(KEY),
      () => store.isEmpty(),
      () => store.remove([KEY]),
    ];
    for (const call of calls) {
      await t.rejects(call(), { ...down, hint: /tintype migrate/ });
    }

    const proxy = await startS3Proxy(t, service.endpoint);
    const { s3 } = config;
    const made = await s3Config(t, service, { bucket: `${service.bucket}-many`, endpoint: proxy.url });
    await Promise.all(Array.from({ length: 5 }, () => prepareBucket(made, { make: true })));
    proxy.break(() => "hang");
    const hung = { ...made, s3: { ...s3, endpoint: proxy.url, timeout: 200 } };
    await t.rejects(prepareBucket(hung, { make: true }), down);
  });
});
