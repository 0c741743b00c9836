import { setTimeout as delay } from "node:timers/promises";
import { Redis } from "ioredis";
import t from "tap";
import type { SignedIn } from "../support/client.ts";
import { exactly } from "../support/exactly.ts";
import { run, startServer, waitFor } from "../support/server.ts";
import { startService } from "../support/service.ts";
import { redisService } from "../support/services.ts";

const MOST = 20;
/** Milliseconds. */
const WINDOW = 2_000;
const CALLERS = 8;
const ROUNDS = 12;

const seed = Number(process.env.TINTYPE_TEST_SEED ?? Date.now() % 1_000_000);

/** Between 0 and 1, the same for the same seed (mulberry32). */
function randoms(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** By the clock of this machine, which is that of Redis too. Milliseconds. */
const clock = () => performance.timeOrigin + performance.now();

/** The moments at which Redis let something in, collected before they are forgotten. */
function watchLog(redis: Redis, key: () => Promise<string | undefined>) {
  const seen = new Map<number, number>();
  let watching = true;
  const watched = (async () => {
    while (watching) {
      const name = await key();
      const log = name === undefined ? null : await redis.getBuffer(name);
      for (let at = 8; log && at < log.length; at += 16) {
        seen.set(log.readDoubleBE(at) / 1_000, log.readDoubleBE(at + 8));
      }
      await delay(WINDOW / 20);
    }
  })();
  return async () => {
    watching = false;
    await watched;
    return [...seen].sort(([one], [other]) => one - other).flatMap(([at, times]) => Array<number>(times).fill(at));
  };
}

t.test("three servers whose clocks are wrong, eight callers: never one more, never one fewer", async (t) => {
  const service = await redisService(t);
  if (!service) return;
  t.comment(`TINTYPE_TEST_SEED=${seed}`);
  const random = randoms(seed);
  const first = await startService(t, {
    TINTYPE_REDIS_URL: service.url,
    TINTYPE_REDIS_KEY_PREFIX: service.prefix,
    TINTYPE_LIMITS_ENABLED: "true",
    TINTYPE_LIMITS_FOLLOW: `${MOST}/${WINDOW / 1_000}s`,
  });
  const ahead = [7 * 60_000, -3 * 3_600_000];
  const others = await Promise.all(ahead.map((ahead) => startServer(first.env, { ahead })));
  t.teardown(() => Promise.all(others.map((server) => server.stop())));
  const servers = [first.server, ...others];
  for (const [index, server] of others.entries()) {
    const logged = JSON.parse(server.output().trim().split("\n").at(-1) ?? "");
    const off = (Date.parse(logged.time) || logged.time) - Date.now() - (ahead[index] ?? 0);
    t.ok(Math.abs(off) < 60_000, `a clock that is ${ahead[index]} ms ahead`);
  }
  const ana = await first.client.register("ana");
  await first.client.register("bob");

  const redis = new Redis(service.url);
  t.teardown(() => redis.disconnect());
  const key = async () => (await redis.keys(`${service.prefix}limit-follow:*:${ana.id}`))[0];
  const collect = watchLog(redis, key);

  const accepted: { sent: number; answered: number }[] = [];
  const refused: { sent: number; answered: number; wait: number }[] = [];
  const call = async (index: number) => {
    const client = servers[index % servers.length]?.client.as(ana.token);
    const sent = clock();
    const answer = await client?.request("POST", "/users/bob/follow");
    const answered = clock();
    if (answer?.status === 200) accepted.push({ sent, answered });
    else if (answer?.status === 429) refused.push({ sent, answered, wait: Number(answer.headers.get("retry-after")) });
    else throw new Error(`${answer?.status} ${answer?.bytes}`);
    const reset = Number(answer.headers.get("x-ratelimit-reset")) * 1_000;
    if (reset < sent - 1 || reset > answered + WINDOW + 1_000) throw new Error(`it is told to reset at ${reset}`);
  };
  for (let round = 0; round < ROUNDS; round++) {
    // A burst of all callers, as many as fill it or twice as many; then just up to an edge, or anywhere.
    const burst = Math.ceil(MOST * (0.5 + 1.5 * random()));
    let next = 0;
    await Promise.all(
      Array.from({ length: CALLERS }, async () => {
        while (next < burst) await call(next++);
      }),
    );
    const last = accepted.at(-1)?.answered ?? clock();
    const pause = random() < 0.5 ? WINDOW - (clock() - last) - 20 + 40 * random() : WINDOW * random();
    await delay(Math.max(0, pause));
  }
  const moments = await collect();

  t.equal(moments.length, accepted.length, "each that was let in is in the log, and nothing else");
  t.ok(refused.length > MOST, `${accepted.length} let in, ${refused.length} refused`);
  const within = (end: number) => moments.filter((at) => at > end - WINDOW && at <= end).length;
  t.ok(
    moments.every((at) => within(at) <= MOST),
    "never one more: a window is fullest when one is let in",
  );
  const few = refused.filter(({ sent, answered }) => {
    // At some moment between the two it was full: when it was sent, or when one came in meanwhile.
    const meanwhile = moments.filter((at) => at >= sent && at <= answered);
    return ![sent, ...meanwhile].some((at) => within(at) === MOST);
  });
  t.same(few, [], "never one fewer");
  // The same, known only by what callers saw.
  const surely = (from: number) =>
    accepted.filter(({ sent, answered }) => sent >= from && answered <= from + WINDOW).length;
  t.ok(accepted.every(({ sent }) => surely(sent) <= MOST));
});

t.test("Redis is killed in between: the limit holds", async (t) => {
  const service = await redisService(t, { own: true });
  if (!service) return;
  const { client, env } = await startService(t, {
    TINTYPE_REDIS_URL: service.url,
    TINTYPE_LIMITS_ENABLED: "true",
    TINTYPE_LIMITS_FOLLOW: `${MOST}/1h`,
    TINTYPE_LIMITS_LOGIN: "5/1h",
  });
  const ana = await client.register("ana");
  await client.register("bob");
  const follow = async (times: number) => {
    const answers = await Promise.all(Array.from({ length: times }, () => ana.request("POST", "/users/bob/follow")));
    return answers.filter(({ status }) => status === 200).length;
  };
  const show = async (...who: string[]) => {
    const { code, stdout } = await run(["limits", "show", ...who, "--json"], env);
    t.equal(code, 0);
    const { limits } = JSON.parse(stdout);
    return (name: string) => limits.find(({ limit }: { limit: string }) => limit === name);
  };
  t.equal(await follow(12), 12);
  t.match((await show("ana"))("follow"), { most: MOST, used: 12, remaining: 8, resets_at: String });
  t.match((await show("ana"))("like"), { used: 0, resets_at: null });

  await service.kill();
  t.equal(await follow(15), 8, "the server remembers what it let in itself");
  t.equal(await follow(5), 0);
  t.equal(await wrongPasswords(ana, 8), 5);

  await service.restart();
  const cat = await client.register("cat");
  await waitFor(async () => {
    await cat.request("POST", "/users/bob/follow");
    return (await show("cat"))("follow").used > 0;
  }, "Redis to count again");
  t.match((await show("ana"))("follow"), { used: 12 }, "its log goes on where it was");
  t.equal(await follow(MOST), 0, "and what was let in without it counts beside that");

  await service.pause();
  t.equal(await follow(3), 0, "one that hangs is as one that is down");
  await service.resume();

  const reset = await run(["limits", "reset", "ana", "--action", "follow", "--json"], env);
  t.match(JSON.parse(reset.stdout), { reset: exactly("follow"), dry_run: false });
  await waitFor(async () => (await follow(1)) === 1, "the reset");
  t.match((await show("--address", "127.0.0.1"))("login"), { most: 5 });

  async function wrongPasswords({ username }: SignedIn, times: number): Promise<number> {
    let wrong = 0;
    for (let index = 0; index < times; index++) {
      const { status } = await client.request("POST", "/auth/login", { json: { login: username, password: "wrong" } });
      if (status === 401) wrong++;
    }
    return wrong;
  }
});
