import { setTimeout as delay } from "node:timers/promises";
import fc from "fast-check";
import { Redis } from "ioredis";
import t from "tap";
import { RedisUnavailableError } from "../../src/redis/redis.ts";
import { testDatabase } from "../../test/support/database.ts";
import { silent } from "../../test/support/product/database.ts";
import { openCaching } from "../../test/support/product/redis.ts";
import { waitFor } from "../../test/support/server.ts";
import { redisService } from "../../test/support/services.ts";
import { type Place, ProcessLimiter, SharedLimiter } from "./limiter.ts";
import { Log, type Outcome, type Rule, ruleOf, type Standing } from "./log.ts";
import { GIVE_BACK, LOOK, TAKE } from "./scripts.ts";

/** A log, in whichever engine. */
interface Engine {
  take(rule: Rule, amount: number): Promise<Outcome>;
  giveBack(rule: Rule, at: number, amount: number): Promise<Standing>;
  look(rule: Rule): Promise<Standing>;
  /** Lets time go by. */
  wait(microseconds: number): Promise<void>;
}

/** The oracle: a list of what was let in, and nothing else. */
class Model {
  taken: { at: number; amount: number }[] = [];

  used(now: number, window: number): number {
    return this.taken.reduce((sum, { at, amount }) => (at > now - window ? sum + amount : sum), 0);
  }
}

type Step = { take: number } | { giveBack: number; part: number } | { wait: number };

/** Whatever is asked in whatever order: what is let in is exactly what the model lets in at the engine's own times. */
async function follow(rule: Rule, steps: readonly Step[], engine: Engine): Promise<void> {
  const model = new Model();
  const held: { at: number; when: number; amount: number }[] = [];
  const { most, window, slot } = rule;
  for (const step of steps) {
    if ("wait" in step) {
      await engine.wait(step.wait);
    } else if ("take" in step) {
      const { taken, at, wait, now, used, next } = await engine.take(rule, step.take);
      const fits = (offset: number) => model.used(now - offset, window) + step.take <= most;
      if (taken && !fits(0)) throw new Error(`one more: ${step.take} beside ${model.used(now, window)} of ${most}`);
      // Kept in slots, a place may be free later by one slot, and no more.
      if (!taken && fits(slot === 1 ? 0 : slot)) throw new Error(`one fewer: ${model.used(now, window)} of ${most}`);
      if (taken) {
        model.taken.push({ at: now, amount: step.take });
        held.push({ at, when: now, amount: step.take });
        if (wait !== 0) throw new Error("a wait for nothing");
      } else if (wait <= 0 || wait > window + slot - 1) throw new Error(`a wait of ${wait}`);
      else if (step.take <= most && model.used(now + wait, window) + step.take > most)
        throw new Error("too short a wait");
      check(model, rule, { now, used, next });
    } else if (held.length > 0) {
      const [one] = held.splice(step.giveBack % held.length, 1);
      if (!one) continue;
      const amount = Math.max(1, Math.floor(one.amount * step.part));
      const standing = await engine.giveBack(rule, one.at, amount);
      const entry = model.taken.find(({ at, amount }) => at === one.when && amount === one.amount);
      if (entry) entry.amount -= amount;
      check(model, rule, standing);
    }
    check(model, rule, await engine.look(rule));
  }
}

function check(model: Model, { window, slot }: Rule, { now, used, next }: Standing): void {
  const [least, most] = [model.used(now, window), model.used(slot === 1 ? now : now - slot, window)];
  if (used < least || used > most) throw new Error(`${used} used, not ${least} to ${most}`);
  const live = model.taken.filter(({ at, amount }) => at > now - window && amount > 0).map(({ at }) => at);
  const soonest = live.length === 0 ? 0 : Math.min(...live) + window - now;
  if (slot === 1 && next !== soonest) throw new Error(`the next is free in ${next}, not ${soonest}`);
}

/** @param unit microseconds of the shortest wait */
const steps = (rule: Rule, unit: number, size: { minLength: number; maxLength: number }) =>
  fc.array(
    fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({ take: rule.slot === 1 ? fc.constant(1) : fc.integer({ min: 1, max: rule.most }) }),
      },
      { weight: 2, arbitrary: fc.record({ giveBack: fc.nat(), part: fc.double({ min: 0.1, max: 1, noNaN: true }) }) },
      // Often just up to an edge.
      {
        weight: 3,
        arbitrary: fc.record({
          wait: fc.oneof(
            fc.constant(rule.window),
            fc.nat({ max: (2 * rule.window) / unit }).map((n) => n * unit),
          ),
        }),
      },
    ),
    size,
  );

t.test("in process, against a list of what was let in", async () => {
  for (const given of [
    { most: 1, window: 1_000 },
    { most: 3, window: 1_000 },
    { most: 100, window: 5_000 },
    { most: 50_000, window: 60_000 },
  ]) {
    const rule = ruleOf(given);
    await fc.assert(
      fc.asyncProperty(
        fc.nat({ max: 10_000_000 }),
        steps(rule, 1, { minLength: 1, maxLength: 120 }),
        async (start, all) => {
          const log = new Log();
          let now = start;
          await follow(rule, all, {
            take: async (rule, amount) => log.take(now, rule, amount),
            giveBack: async (rule, at, amount) => log.giveBack(now, rule, at, amount),
            look: async (rule) => log.look(now, rule),
            wait: async (time) => {
              now += time;
            },
          });
        },
      ),
      { numRuns: 300 },
    );
  }
});

t.test("in Redis, against the same", async (t) => {
  const service = await redisService(t);
  if (!service) return;
  const redis = new Redis(service.url);
  t.teardown(() => redis.disconnect());
  let keys = 0;
  const open = (): Engine => {
    const key = `${service.prefix}log-${keys++}`;
    const call = async (script: typeof TAKE, ...args: number[]) =>
      (await redis.eval(script.lua, 1, key, ...args)) as number[];
    const standing = ([now = 0, used = 0, next = 0]: number[]) => ({ now, used, next });
    return {
      async take({ window, slot, most }, amount) {
        const answer = await call(TAKE, window, slot, most, amount);
        const [at = 0, wait = 0] = answer.slice(3);
        return { ...standing(answer), at, wait, taken: at > 0 };
      },
      giveBack: async ({ window, slot }, at, amount) => standing(await call(GIVE_BACK, window, slot, at, amount)),
      look: async ({ window, slot }) => standing(await call(LOOK, window, slot)),
      wait: (time) => delay(time / 1_000),
    };
  };
  // Windows of milliseconds, so that many edges go by.
  for (const rule of [
    { most: 1, window: 5_000, slot: 1 },
    { most: 3, window: 10_000, slot: 1 },
    { most: 20, window: 20_000, slot: 1 },
    { most: 5_000, window: 20_000, slot: 20 },
  ]) {
    await fc.assert(
      fc.asyncProperty(steps(rule, 1_000, { minLength: 10, maxLength: 40 }), (all) => follow(rule, all, open())),
      { numRuns: 8 },
    );
  }

  await t.test("nothing stays, and no key is longer than its limit", async (t) => {
    const rule = { most: 10, window: 400_000, slot: 1 };
    const engine = open();
    const key = `${service.prefix}log-${keys - 1}`;
    for (let index = 0; index < 50; index++) await engine.take(rule, 1);
    t.equal(await redis.strlen(key), 8 + 10 * 16);
    const left = await redis.pttl(key);
    t.ok(left > 0 && left <= 402, "it goes by itself");
    await delay(450);
    t.equal(await redis.exists(key), 0);
    const bytes = { most: 1_000_000, window: 200_000, slot: 200 };
    for (const end = Date.now() + 500; Date.now() < end; ) await engine.take(bytes, 1);
    t.ok((await redis.strlen(key)) <= 8 + 1_001 * 16, "of many the entries are bounded");
  });

  await t.test("a clock that was put back does not keep anybody out", async (t) => {
    const rule = { most: 2, window: 300_000, slot: 1 };
    const engine = open();
    const key = `${service.prefix}log-${keys - 1}`;
    await engine.take(rule, 1);
    await delay(100);
    await engine.take(rule, 1);
    // As if both had been taken by a clock that was an hour ahead.
    const log = await redis.getBuffer(key);
    if (!log) throw new Error("there is no log");
    for (const offset of [8, 24]) log.writeDoubleBE(log.readDoubleBE(offset) + 3_600_000_000, offset);
    await redis.set(key, log, "PX", 4_000_000);
    const refused = await engine.take(rule, 1);
    t.equal(refused.taken, false, "the limit holds");
    t.ok(refused.wait <= 300_000, `${refused.wait} µs, and not an hour`);
  });
});

t.test("a process forgets the logs that nobody asks for, when there are too many", async (t) => {
  const limiter = new ProcessLimiter();
  const rule = ruleOf({ most: 1, window: 3_600_000 });
  const name = (index: number) => ({ limit: "like", subject: `${index}` }) as const;
  for (let index = 0; index < 250_000; index++) await limiter.take(name(index), rule, 1);
  t.equal((await limiter.look(name(0), rule)).used, 0, "the first is forgotten");
  t.equal((await limiter.take(name(249_999), rule, 1)).taken, false, "the last is not");
});

t.test("a process counts how long its logs become", async (t) => {
  let now = 0;
  const limiter = new ProcessLimiter({ clock: () => now++, mostEntries: 20_000 });
  const rule = ruleOf({ most: 1_000, window: 3_600_000 });
  const name = (index: number) => ({ limit: "like", subject: `${index}` }) as const;
  for (let index = 0; index < 30; index++) {
    for (let time = 0; time < 1_000; time++) limiter.takeNow(name(index), rule, 1);
  }
  t.equal(limiter.standing(name(0), rule).used, 0, "the first is forgotten");
  t.equal(limiter.standing(name(29), rule).used, 1_000, "the last is not");
});

t.test("Redis and its outages", async (t) => {
  const service = await redisService(t);
  if (!service) return;
  const { redis } = await openCaching(t, (await testDatabase(t)).url, service);
  const rule = ruleOf({ most: 5, window: 3_600_000 });
  let names = 0;
  const newName = () => ({ limit: "like", subject: `subject-${(16 + names++).toString(16)}` }) as const;
  /** A server, whose Redis does not answer at will. */
  const open = () => {
    const state = { down: false, late: Promise.resolve() };
    const run: typeof redis.run = async (...args) => {
      if (state.down) throw new RedisUnavailableError("down");
      const { late } = state;
      const answer = await redis.run(...args);
      await late;
      return answer;
    };
    return { state, limiter: new SharedLimiter({ key: (kind, id) => redis.key(kind, id), run }, silent) };
  };
  const take = async (limiter: SharedLimiter, name: ReturnType<typeof newName>, times: number) => {
    const places = [];
    for (let time = 0; time < times; time++) places.push(await limiter.take(name, rule, 1));
    return places;
  };
  const letIn = (places: readonly Place[]) => places.filter(({ taken }) => taken).length;

  await t.test("one server lets in no more than it may, before, during and after", async (t) => {
    const [{ state, limiter }, other] = [open(), open()];
    const name = newName();
    t.equal(letIn(await take(limiter, name, 3)), 3);
    state.down = true;
    const during = await take(limiter, name, 4);
    t.same([letIn(during), during.at(-1)?.standing.used], [2, 5]);
    state.down = false;
    const [refused] = await take(limiter, name, 1);
    t.same([refused?.taken, refused?.standing.used], [false, 5]);
    t.ok(refused && refused.wait > 0 && refused.wait <= 3_600_000);
    t.equal((await limiter.look(name, rule)).used, 5);
    await during[0]?.giveBack(1);
    t.equal(letIn(await take(limiter, name, 2)), 1, "what is given back is free");
    t.equal(letIn(await take(other.limiter, name, 2)), 1, "another server knows only of what Redis knows");
    limiter.forgetHere(name);
    t.equal((await limiter.look(name, rule)).used, 5, "the one place of the outage is forgotten");
  });

  await t.test("nor when Redis has forgotten what it knew", async (t) => {
    const [{ limiter }, other] = [open(), open()];
    const name = newName();
    const [first] = await take(limiter, name, 4);
    const client = new Redis(service.url);
    t.teardown(() => client.disconnect());
    await client.del(redis.key("limit-like", name.subject));
    t.equal((await limiter.look(name, rule)).used, 4);
    t.equal(letIn(await take(limiter, name, 3)), 1);
    const [refused] = await take(limiter, name, 1);
    t.same([refused?.taken, refused?.standing.used], [false, 5]);
    t.ok(refused && refused.wait > 3_500_000 && refused.wait <= 3_600_000);
    t.equal((await other.limiter.look(name, rule)).used, 1, "what was refused is not kept in Redis either");
    await first?.giveBack(1);
    t.equal(letIn(await take(limiter, name, 2)), 1);
  });

  await t.test("nor in the moment in which it begins", async (t) => {
    const { state, limiter } = open();
    const name = newName();
    await take(limiter, name, 4);
    const { promise, resolve } = Promise.withResolvers<void>();
    state.late = promise;
    const late = limiter.take(name, rule, 1);
    state.down = true;
    t.equal((await limiter.take(name, rule, 1)).taken, true);
    state.down = false;
    resolve();
    t.equal((await late).taken, false);
  });

  await t.test("what is given back during an outage is free after it", async (t) => {
    const [{ state, limiter }, other] = [open(), open()];
    const name = newName();
    const [place] = await take(limiter, name, 1);
    state.down = true;
    t.equal((await place?.giveBack(1))?.used, 0);
    t.equal((await other.limiter.look(name, rule)).used, 1);
    state.down = false;
    await take(limiter, newName(), 1);
    await waitFor(async () => (await other.limiter.look(name, rule)).used === 0, "the place to be free");
  });

  await t.test("a Redis that refuses is as one that is down", async (t) => {
    const { limiter } = open();
    const name = newName();
    const client = new Redis(service.url);
    t.teardown(() => client.disconnect());
    await client.hset(redis.key("limit-like", name.subject), "what", "is this");
    t.equal(letIn(await take(limiter, name, 6)), 5);
  });
});
