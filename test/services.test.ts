import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { Redis } from "ioredis";
import t from "tap";
import { temporaryFolder, waitFor } from "./support/server.ts";
import { cache, cached, cacheFolder } from "./support/services/cache.ts";
import { identityOf } from "./support/services/machine.ts";
import {
  cassandraClient,
  cassandraService,
  nginxService,
  redisService,
  type S3Kind,
  s3Client,
  s3Service,
} from "./support/services.ts";

const ROOT = join(import.meta.dirname, "..");

/** What a test is asked for by the functions under test, with what they did to it. */
function watchedTest() {
  const ends: Array<() => unknown> = [];
  const skipped: string[] = [];
  return {
    skipped,
    teardown: (end: () => unknown) => void ends.push(end),
    pass: (message: string, { skip }: { skip: true }) => void (skip && skipped.push(message)),
    async end() {
      for (const end of ends.reverse()) await end();
    },
  };
}

/** Sets a variable of the environment until the test's end. */
function setVariable(test: { teardown(end: () => unknown): void }, name: string, value: string | undefined): void {
  const before = process.env[name];
  const set = (to: string | undefined) => {
    if (to === undefined) delete process.env[name];
    else process.env[name] = to;
  };
  set(value);
  test.teardown(() => set(before));
}

t.test("Redis answers; each test has keys of its own, which go at its end", async (t) => {
  const first = watchedTest();
  const service = await redisService(t);
  const one = await redisService(first);
  if (!service || !one) return;
  t.equal(one.url, service.url, "a file starts one server");
  t.not(one.prefix, service.prefix);
  const redis = new Redis(service.url);
  t.teardown(() => redis.disconnect());
  await redis.set(`${service.prefix}kept`, "1");
  await redis.set(`${one.prefix}gone`, "2");
  await first.end();
  t.equal(await redis.get(`${service.prefix}kept`), "1");
  t.equal(await redis.exists(`${one.prefix}gone`), 0);
});

t.test("the server that a variable names is taken, unless a test insists on its own", async (t) => {
  const own = await redisService(t, { own: true });
  if (!own) return;
  setVariable(t, "TINTYPE_TEST_REDIS_URL", own.url);
  const [named, another] = [await redisService(t), await redisService(t, { own: true })];
  t.equal(named?.url, own.url);
  t.notOk(named && "pause" in named, "nobody pauses a server that others use");
  t.not(another?.url, own.url);
});

for (const kind of ["minio", "versitygw"] satisfies S3Kind[]) {
  t.test(`${kind} keeps objects; each test has a bucket of its own, which goes at its end`, async (t) => {
    const first = watchedTest();
    const service = await s3Service(first, { kind });
    const other = await s3Service(t, { kind });
    if (!service || !other) {
      for (const message of first.skipped) t.pass(message, { skip: true });
      return;
    }
    t.equal(service.endpoint, other.endpoint);
    t.not(service.bucket, other.bucket);
    const s3 = s3Client(service);
    await s3.makeBucket(service.bucket);
    await s3.makeBucket(other.bucket);
    const bytes = Buffer.from("a picture");
    await s3.putObject(service.bucket, "a/b c/ü.webp", bytes, bytes.length, { "Content-Type": "image/webp" });
    t.same(await buffer(await s3.getObject(service.bucket, "a/b c/ü.webp")), bytes);
    t.match((await s3.statObject(service.bucket, "a/b c/ü.webp")).metaData, { "content-type": "image/webp" });
    await s3.initiateNewMultipartUpload(service.bucket, "half", {});
    await t.rejects(s3Client({ ...service, secretKey: "wrong" }).listBuckets());
    await first.end();
    t.notOk(await s3.bucketExists(service.bucket));
    t.ok(await s3.bucketExists(other.bucket));
  });
}

t.test("Cassandra answers; each test has a keyspace of its own, which goes at its end", async (t) => {
  const first = watchedTest();
  const service = await cassandraService(first);
  const other = await cassandraService(t);
  if (!service || !other) {
    for (const message of first.skipped) t.pass(message, { skip: true });
    return;
  }
  t.not(service.keyspace, other.keyspace);
  const client = cassandraClient(service);
  t.teardown(() => client.shutdown());
  const { keyspace } = service;
  await client.execute(
    `CREATE KEYSPACE ${keyspace} WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}`,
  );
  await client.execute(`CREATE TABLE ${keyspace}.messages (id int PRIMARY KEY, body text)`);
  await client.execute(`INSERT INTO ${keyspace}.messages (id, body) VALUES (?, ?)`, [1, "hello"], { prepare: true });
  t.equal((await client.execute(`SELECT body FROM ${keyspace}.messages WHERE id = 1`)).first()?.body, "hello");
  await first.end();
  const left = await client.execute("SELECT * FROM system_schema.keyspaces WHERE keyspace_name = ?", [keyspace]);
  t.equal(left.rowLength, 0);
});

t.test("nginx serves what a test configures, by this user", async (t) => {
  const folder = await temporaryFolder(t);
  await writeFile(join(folder, "hello.txt"), "hello", { mode: 0o600 });
  const nginx = await nginxService(t, (port) => `server { listen 127.0.0.1:${port}; root ${folder}; }`);
  if (!nginx) return;
  t.equal(await (await fetch(`${nginx.url}/hello.txt`)).text(), "hello");
  t.equal((await fetch(`${nginx.url}/other.txt`)).status, 404);
  t.match(await nginx.log(), /other\.txt/);
});

t.test("a server that does not start says why", async (t) => {
  if (!(await nginxService(t, (port) => `server { listen 127.0.0.1:${port}; }`))) return;
  await t.rejects(
    nginxService(t, () => "nonsense;"),
    /nginx ended:[\s\S]*unknown directive "nonsense"/,
  );
});

t.test("a server of a test's own is paused, killed, and started again with its data", async (t) => {
  const [service, other] = [await redisService(t, { own: true }), await redisService(t)];
  if (!service || !other) return;
  const peer = new Redis(other.url);
  t.teardown(() => peer.disconnect());
  const redis = new Redis(service.url, { retryStrategy: () => 25, maxRetriesPerRequest: null });
  redis.on("error", () => undefined);
  t.teardown(() => redis.disconnect());
  await redis.set("key", "value");

  service.pause();
  let answered = false;
  const answer = redis.get("key").finally(() => {
    answered = true;
  });
  // In that time a server that is not paused answers.
  for (let round = 0; round < 100; round += 1) await peer.ping();
  t.notOk(answered);
  service.resume();
  t.equal(await answer, "value");

  const before = service.pid;
  await service.kill();
  t.throws(() => service.pid, /does not run/);
  t.equal(await identityOf(before), undefined);
  await service.restart();
  t.not(service.pid, before);
  t.equal(await redis.get("key"), "value");
});

t.test("a server ends with the process that started it, though that is killed", async (t) => {
  if (!(await redisService(t))) return;
  const child = spawn(
    "env",
    ["-u", "NODE_OPTIONS", "-u", "TINTYPE_TEST_REDIS_URL", process.execPath, "--input-type=module", "-e", STARTER],
    { cwd: ROOT, stdio: ["ignore", "pipe", "inherit"] },
  );
  const [said] = await once(child.stdout.setEncoding("utf8"), "data");
  const { pid, folder } = JSON.parse(said);
  t.ok(await identityOf(pid));
  child.kill("SIGKILL");
  await waitFor(async () => (await identityOf(pid)) === undefined, "the end of the server");
  await waitFor(
    () =>
      readdir(folder).then(
        () => false,
        () => true,
      ),
    "the end of its data",
  );
});

const STARTER = `
  import { Instance } from "./test/support/services/instance.ts";
  import { CATALOGUE } from "./test/support/services/catalogue.ts";
  const instance = await Instance.start(CATALOGUE.redis, await CATALOGUE.redis.find());
  process.stdout.write(JSON.stringify({ pid: instance.pid, folder: instance.place.folder }));
  setInterval(() => undefined, 1_000);
`;

t.test("without a service a test is skipped and says how to get it; CI fails instead", async (t) => {
  setVariable(t, "XDG_CACHE_HOME", await temporaryFolder(t));
  setVariable(t, "PATH", "");
  setVariable(t, "TINTYPE_TEST_VERSITYGW_URL", undefined);
  setVariable(t, "CI", undefined);
  const watched = watchedTest();
  t.equal(await s3Service(watched, { kind: "versitygw" }), undefined);
  t.same(watched.skipped, ["versitygw is not installed: npm run services -- install versitygw"]);
  setVariable(t, "CI", "true");
  await t.rejects(s3Service(watched, { kind: "versitygw" }), /npm run services -- install versitygw/);
  t.equal(watched.skipped.length, 1);
});

t.test("what is installed is there whole or not at all", async (t) => {
  setVariable(t, "XDG_CACHE_HOME", await temporaryFolder(t));
  const build = (text: string) => (folder: string) => writeFile(join(folder, "program"), text);
  await t.rejects(
    cache("tool", "1", async (folder) => {
      await build("half")(folder);
      t.equal(await cached("tool", "1"), undefined, "while it is built");
      throw new Error("no network");
    }),
    /no network/,
  );
  t.equal(await cached("tool", "1"), undefined);
  t.same(await readdir(cacheFolder()), []);

  await mkdir(join(cacheFolder(), "unfinished-tool-killed"));
  const folders = await Promise.all([cache("tool", "1", build("one")), cache("tool", "1", build("two"))]);
  t.equal(folders[0], folders[1]);
  const program = await readFile(join(folders[0], "program"), "utf8");
  await cache("tool", "1", build("three"));
  t.equal(await readFile(join(folders[0], "program"), "utf8"), program, "what is there is not built again");
  t.equal(await cached("tool", "2"), undefined);
});

t.test("npm run services starts, finds and stops one, and nobody else", async (t) => {
  const cacheHome = await temporaryFolder(t);
  setVariable(t, "XDG_CACHE_HOME", cacheHome);
  if (!(await redisService(t, { own: true }))) return;
  t.teardown(() => services("stop", "redis"));
  const started = await services("start", "redis");
  t.equal(started.code, 0, started.output);
  const url = /^export TINTYPE_TEST_REDIS_URL=(\S+)$/m.exec(started.output)?.[1] ?? "";
  const pid = Number(/pid (\d+)/.exec(started.output)?.[1]);
  const redis = new Redis(url);
  t.equal(await redis.ping(), "PONG");
  redis.disconnect();
  t.match((await services("start", "redis")).output, `# redis runs already\nexport TINTYPE_TEST_REDIS_URL=${url}`);
  t.match((await services("status", "redis")).output, `pid ${pid}`);

  const [file = ""] = await readdir(join(cacheFolder(), "running"));
  const path = join(cacheFolder(), "running", file);
  const state = await readFile(path, "utf8");
  const bystander = spawn("sleep", ["600"]);
  t.teardown(() => bystander.kill());
  await writeFile(path, JSON.stringify({ ...JSON.parse(state), pid: bystander.pid, place: { folder: cacheHome } }));
  t.match((await services("stop", "redis")).output, "redis: does not run", "its pid is another's now");
  t.ok(await identityOf(bystander.pid ?? 0));

  await mkdir(join(cacheFolder(), "running"), { recursive: true });
  await writeFile(path, state);
  t.match((await services("stop", "redis")).output, "redis: stopped");
  t.equal(await identityOf(pid), undefined);
  t.match((await services("status", "redis")).output, "does not run");
  t.equal((await services("start", "rediss")).code, 2);
});

async function services(...args: string[]): Promise<{ code: number; output: string }> {
  const script = join(ROOT, "scripts/services.ts");
  const child = spawn("env", ["-u", "NODE_OPTIONS", process.execPath, script, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [output, [code]] = await Promise.all([buffer(child.stdout), once(child, "close")]);
  return { code, output: output.toString() };
}
