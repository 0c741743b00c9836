import { setTimeout as delay } from "node:timers/promises";
import { Redis } from "ioredis";
import pg from "pg";
import t from "tap";
import { v7 as newId } from "uuid";
import type { Json, SignedIn } from "../support/client.ts";
import { exactly } from "../support/exactly.ts";
import { picture } from "../support/pictures.ts";
import { run, start, waitFor } from "../support/server.ts";
import { publish, startService } from "../support/service.ts";
import { redisService } from "../support/services.ts";

const service = await redisService(t, { own: true });
if (service) await withRedis(service);

async function withRedis(server: NonNullable<typeof service>) {
  const { url, prefix } = server;
  const redis = new Redis(url);
  t.teardown(() => redis.disconnect());
  const settings = { TINTYPE_REDIS_URL: url, TINTYPE_REDIS_KEY_PREFIX: prefix, TINTYPE_FEED_FANOUT_THRESHOLD: "2" };
  const { client, env, databaseUrl } = await startService(t, settings);
  const database = new pg.Pool({ connectionString: databaseUrl, max: 2 });
  t.teardown(() => database.end());

  /** Runs a command with --json: stdout is one JSON document, whatever the exit. */
  const asJson = async (line: string, expected: number, extra: Record<string, string> = {}): Promise<Json> => {
    const { code, stdout, stderr } = await run([...line.split(" "), "--json"], { ...env, ...extra });
    if (code !== expected) throw new Error(`${line} ended with ${code}, not ${expected}:\n${stdout}${stderr}`);
    return JSON.parse(stdout);
  };
  const redisOf = ({ checks }: Json) => checks.find(({ name }: Json) => name === "redis");
  const keyOf = (kind: string, id: string) =>
    `${prefix}${kind}:{t${String(Number.parseInt(id.slice(-2), 16)).padStart(3, "0")}}:${id}`;
  const entryOf = ({ id, published_at }: Json) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64BE(BigInt(Date.parse(published_at)));
    return Buffer.concat([bytes, Buffer.from(id.replaceAll("-", ""), "hex")]);
  };
  const feedOf = async (viewer: SignedIn) =>
    (await viewer.request("GET", "/feed")).body.items.map(({ id }: Json) => id);
  const photo = await picture({ width: 16, height: 16 });
  const [ana, eve, author, celebrity, stranger] = (await Promise.all(
    ["ana", "eve", "author", "celebrity", "stranger"].map((name) => client.register(name)),
  )) as [SignedIn, SignedIn, SignedIn, SignedIn, SignedIn];
  for (const [viewer, { username }] of [
    [ana, author],
    [ana, celebrity],
    [eve, celebrity],
  ] as const) {
    await viewer.request("POST", `/users/${username}/follow`);
  }
  // Long enough for every server to know: what the celebrity posts is pushed to nobody.
  await database.query("INSERT INTO pulled_authors (user_id, pulled_since) VALUES ($1, now() - interval '1 hour')", [
    celebrity.id,
  ]);
  const timeline = keyOf("timeline", ana.id);
  const gone = await publish(author, [photo]);
  await waitFor(async () => (await feedOf(ana)).length === 1, "the first post");
  const [pushed, pulled, strange] = [
    await publish(author, [photo]),
    await publish(celebrity, [photo]),
    await publish(stranger, [photo]),
  ];

  t.test("what people did is in Redis as Postgres has it", async (t) => {
    await author.request("DELETE", `/posts/${gone.id}`);
    await eve.request("POST", `/users/${author.username}/follow`);
    await eve.request("DELETE", `/users/${author.username}/follow`);
    await waitFor(async () => (await redis.lrange(timeline, 0, -1)).length === 2, "a post, and the end");
    t.same(await feedOf(ana), [pulled.id, pushed.id]);
    t.same(await feedOf(eve), [pulled.id]);
    await redis.expire(timeline, 1_000);
    const [verified, status, doctor] = await Promise.all([
      asJson("fanout verify", 0),
      asJson("fanout status", 0),
      asJson("doctor", 0),
    ]);
    t.strictSame(verified, { timelines: 3, entries: 2, differences: [] });
    t.ok((await redis.ttl(timeline)) <= 1_000, "who verifies is no reader");
    t.match(redisOf(doctor), { state: "ok", message: /^(Redis|Valkey) \d.*, answered in \d+ ms$/ });
    t.match(status, {
      timelines: 2,
      author_lists: 1,
      entries: 1,
      bytes: Number,
      sampled: null,
      celebrities: { count: 1, top: exactly({ username: "celebrity", follower_count: 2 }) },
      backlog: { jobs: 0, oldest_seconds: null },
      redis: { mode: "single", masters: 1, version: /^(Redis|Valkey) \d/ },
      epoch: /\.\d+$/,
    });
    t.ok(status.bytes > 200);
  });

  t.test("what a job still has to do is no difference", async (t) => {
    const entry = entryOf(pushed);
    await redis.lrem(timeline, 0, entry);
    await database.query(
      "INSERT INTO pgboss.job (name, data, start_after) VALUES ('feed.fan_out', $1, now() + interval '1 hour')",
      [{ post_id: pushed.id }],
    );
    const monitor = await redis.monitor();
    t.teardown(() => monitor.disconnect());
    const looked = new Promise<void>((resolve) => {
      monitor.on("monitor", (_time, args: string[]) => args.includes(timeline) && resolve());
    });
    const verify = start(["fanout", "verify"], env);
    await looked;
    // Long after the second look that there would be without the job.
    await delay(4_000);
    t.equal(verify.process.exitCode, null);
    await redis.lpush(timeline, entry);
    await database.query("DELETE FROM pgboss.job WHERE name = 'feed.fan_out'");
    t.equal(await verify.exited, 0, verify.output());
  });

  t.test("an entry that is missing, and one that does not belong, are found and mended", async (t) => {
    await redis.lrem(timeline, 0, entryOf(pushed));
    await redis.lpush(timeline, entryOf(strange));
    await redis.lrem(keyOf("author", celebrity.id), 0, entryOf(pulled));
    const before = await redis.lrangeBuffer(timeline, 0, -1);
    const [found, others, hers, dry] = await Promise.all([
      asJson("fanout verify", 1),
      asJson("fanout verify --user eve", 0),
      run(["fanout", "verify", "--user", "ana"], env),
      asJson("fanout rebuild --dry-run", 0),
    ]);
    const byKind = found.differences.toSorted((a: Json, b: Json) =>
      `${a.viewer}${a.kind}`.localeCompare(`${b.viewer}${b.kind}`),
    );
    t.strictSame(byKind, [
      { viewer: ana.id, post_id: pushed.id, kind: "missing" },
      { viewer: ana.id, post_id: strange.id, kind: "stray" },
      { viewer: celebrity.id, post_id: pulled.id, kind: "missing" },
    ]);
    t.strictSame(others.differences, [], "another's are not looked at");
    t.equal(hers.code, 1);
    t.match(hers.stdout, new RegExp(`^missing +post ${pushed.id} +of ${ana.id} \\(ana\\)$`, "m"));
    t.strictSame(dry, { rebuilt: 5, skipped: 0, dry_run: true, resumed: false });
    t.same(await redis.lrangeBuffer(timeline, 0, -1), before);
    t.match(await asJson("fanout rebuild --user ana", 0), { rebuilt: 1, skipped: 0 });
    t.equal(await redis.lpos(timeline, entryOf(pushed)), 0);
    t.equal(await redis.llen(keyOf("author", celebrity.id)), 1, "another's list is as it was");
    t.match(await asJson("fanout rebuild", 0), { rebuilt: 5, skipped: 0, dry_run: false, resumed: false });
    t.same(await feedOf(ana), [pulled.id, pushed.id]);
    t.strictSame((await asJson("fanout verify", 0)).differences, []);
  });

  t.test("a rebuild that is killed goes on where it was", async (t) => {
    const crowd = 1_100;
    await database.query(
      `WITH crowd AS (
         INSERT INTO users (id, username, email, password_hash)
         SELECT id::uuid, 'crowd' || number, number || '@example.org', 'none'
         FROM unnest($1::text[]) WITH ORDINALITY AS given (id, number) RETURNING id
       ) INSERT INTO sessions (id, user_id, token_hash, address)
       SELECT gen_random_uuid(), id, sha256(id::text::bytea), '127.0.0.1' FROM crowd`,
      [Array.from({ length: crowd }, () => newId())],
    );
    const killed = start(["fanout", "rebuild"], env);
    const place = async () =>
      (await database.query("SELECT after_id, rebuilt::int FROM timeline_rebuilds")).rows[0] as Json | undefined;
    const noted = await waitFor(async () => {
      const row = await place();
      return row && row.rebuilt > 0 && row;
    }, "a place that is noted");
    await killed.kill();
    t.not(noted.rebuilt, crowd + 5, "it was killed in the middle");
    const second = await run(["fanout", "rebuild"], env);
    t.equal(second.code, 0);
    t.match(second.stderr, /Going on with the rebuild of .* which came to \d+00 accounts/);
    const [, rebuilt] = /Rebuilt the timelines of (\d+) accounts/.exec(second.stdout) ?? [];
    t.ok(Number(rebuilt) > 0 && Number(rebuilt) <= crowd + 5 - noted.rebuilt, `${rebuilt} were left`);
    const { rows } = await database.query("SELECT user_id AS id FROM sessions");
    const there = await Promise.all(rows.map(({ id }) => redis.hexists(keyOf("viewer", id), "epoch")));
    t.equal(there.filter((one) => one === 1).length, crowd + 5, "everybody's is there, and built");
    t.equal(await place(), undefined);
    const [verified, status] = await Promise.all([asJson("fanout verify", 0), asJson("fanout status", 0)]);
    t.match(verified, { timelines: crowd + 6, differences: exactly() });
    t.match(status, { timelines: crowd + 5, sampled: 1_000 });
  });

  t.test("doctor, readiness, and what is wrong", async (t) => {
    await redis.config("SET", "maxmemory", "1gb", "maxmemory-policy", "allkeys-lru");
    const [doctor, unknown, unset, ready] = await Promise.all([
      asJson("doctor", 0),
      asJson("fanout verify --user nobody", 1),
      asJson("fanout status", 3, { TINTYPE_REDIS_URL: "" }),
      client.request("GET", "/readyz"),
    ]);
    t.match(redisOf(doctor), { state: "warning", message: /allkeys-lru.*noeviction/ });
    t.match(unknown, { error: { code: "USER_NOT_FOUND" } });
    t.match(unset, { error: { hint: /TINTYPE_REDIS_URL/ } });
    t.match(ready.body, { dependencies: { redis: { state: "up", required: false } } });

    redis.disconnect();
    await server.kill();
    const without = await waitFor(async () => {
      const { status, body } = await client.request("GET", "/readyz");
      return body.dependencies.redis.state === "down" && { status, body };
    }, "Redis to be known as down");
    t.match(without, { status: 200, body: { status: "ready", dependencies: { redis: { error: /\S/ } } } });
    const [found, refused] = await Promise.all([asJson("doctor", 4), asJson("fanout verify", 4)]);
    t.match(redisOf(found), { state: "failed", message: /\S/, mend: /TINTYPE_REDIS_URL/ });
    t.match(refused, { error: { code: "RedisUnavailableError", message: /\S/ } });
  });
}
