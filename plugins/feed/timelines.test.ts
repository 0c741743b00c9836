import fc from "fast-check";
import pg from "pg";
import t from "tap";
import { v7 as newId } from "uuid";
import type { PgSnapshot } from "../../src/db/snapshot.ts";
import { testDatabase } from "../../test/support/database.ts";
import { exactly } from "../../test/support/exactly.ts";
import { openCaching } from "../../test/support/product/redis.ts";
import { redisService } from "../../test/support/services.ts";
import { type Entry, entryOf, newestFirst, packEntries, positionOf } from "./entries.ts";
import { CAPACITY } from "./timeline-scripts.ts";
import { Timelines } from "./timelines.ts";

const service = await redisService(t);
if (!service) process.exit();
const { url } = await testDatabase(t);
const { redis } = await openCaching(t, url, service);
const timelines = new Timelines(redis);

/** Entry number n of few times, so that ids decide; the same each time. */
const entry = (n: number) =>
  entryOf({
    at: new Date(Date.UTC(2026, 0, 1) + Math.floor(n / 3)),
    id: `0198f0a4-0000-7000-8000-${String((n * 7) % 1_000).padStart(12, "0")}`,
  });
const sorted = (entries: readonly Entry[]) => entries.toSorted(newestFirst);
/** All transactions below `xmin` have ended, and none else. */
const seen = (xmin: number): PgSnapshot => ({ xmin, xmax: xmin, running: [] });

/** An account, in a Redis that was never emptied. */
async function account(): Promise<string> {
  const id = newId();
  await redis.client().set(redis.generationKey(id), "1:");
  return id;
}

async function built(id: string, entries: readonly Entry[], { complete = true, xmin = 100, anew = false } = {}) {
  const begun = await timelines.begin("timeline", id, { anew });
  if (typeof begun === "string") throw new Error(begun);
  const content = {
    seen: seen(xmin),
    entries: packEntries(...sorted(entries)),
    complete,
    snapshot: Buffer.from("snapshot"),
  };
  return timelines.finish("timeline", id, begun.token, redis.epoch(), content);
}

async function whole(id: string, count = 7) {
  const entries: Entry[] = [];
  for (let after: Entry | null = null; ; ) {
    const read = await timelines.read("timeline", id, { after, count });
    if (!read) return null;
    entries.push(...read.entries);
    if (read.rest !== "more") return { entries, rest: read.rest };
    after = read.entries.at(-1) ?? null;
  }
}

type Step =
  | { step: "push"; n: number }
  | { step: "remove"; n: number }
  | { step: "build"; posts: number[]; complete: boolean; pushed: number[]; removed: number[] }
  | { step: "drop" };

const n = fc.nat(40);
const steps = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ step: fc.constant("push" as const), n }) },
    { weight: 2, arbitrary: fc.record({ step: fc.constant("remove" as const), n }) },
    {
      weight: 2,
      arbitrary: fc.record({
        step: fc.constant("build" as const),
        posts: fc.uniqueArray(n, { maxLength: 12 }),
        complete: fc.boolean(),
        pushed: fc.array(n, { maxLength: 3 }),
        removed: fc.array(n, { maxLength: 1 }),
      }),
    },
    { weight: 1, arbitrary: fc.record({ step: fc.constant("drop" as const) }) },
  ),
  { maxLength: 30 },
);

t.test("a timeline is what a sorted set in memory would be, whatever comes in whichever order", async (t) => {
  let xid = 1_000;
  const property = fc.asyncProperty(steps as fc.Arbitrary<Step[]>, async (steps) => {
    const id = await account();
    let model: { entries: Set<number>; complete: boolean } | null = null;
    const numbers = new Map(Array.from({ length: 41 }, (_, index) => [entry(index).id, index]));
    const below = (one: number, floor: number) => newestFirst(entry(one), entry(floor)) > 0;
    for (const step of steps) {
      if (step.step === "push") {
        await timelines.push("timeline", [id], entry(step.n));
        // Below where it was cut, Postgres is read.
        if (model && (model.complete || !below(step.n, lowest(model.entries)))) model.entries.add(step.n);
      } else if (step.step === "remove") {
        await timelines.remove("timeline", [id], [entry(step.n)]);
        model?.entries.delete(step.n);
        // The list of one that was cut, and has lost its last entry, is gone: it is built again.
        if (model && !model.complete && model.entries.size === 0) model = null;
      } else if (step.step === "drop") {
        xid += 10;
        await timelines.drop("timeline", id, String(xid));
        model = null;
      } else {
        const begun = await timelines.begin("timeline", id, { anew: true });
        if (typeof begun === "string") throw new Error(begun);
        if ((await whole(id)) !== null) throw new Error("half a timeline was read");
        for (const one of step.pushed) await timelines.push("timeline", [id], entry(one));
        for (const one of step.removed) await timelines.remove("timeline", [id], [entry(one)]);
        const complete = step.complete || step.posts.length === 0;
        const content = {
          seen: seen(xid + 1),
          entries: packEntries(...sorted(step.posts.map(entry))),
          complete,
          snapshot: Buffer.from("x"),
        };
        if (!(await timelines.finish("timeline", id, begun.token, redis.epoch(), content))) throw new Error("not kept");
        const pushed = step.pushed.filter((one) => !step.removed.includes(one));
        const kept = complete ? pushed : pushed.filter((one) => !below(one, lowest(new Set(step.posts))));
        model = { entries: new Set([...step.posts, ...kept]), complete };
      }
      const found = await whole(id);
      const wanted = model && {
        entries: sorted([...model.entries].map(entry)).map((one) => numbers.get(one.id)),
        rest: model.complete ? "end" : "cut",
      };
      const read = found && {
        entries: found.entries.map((one) => numbers.get(one.id)),
        rest: found.rest,
      };
      if (JSON.stringify(read) !== JSON.stringify(wanted)) {
        throw new Error(`${JSON.stringify(read)} and not ${JSON.stringify(wanted)} after ${JSON.stringify(step)}`);
      }
    }
  });
  await fc.assert(property, { numRuns: 60 });
  t.pass("60 runs");

  function lowest(entries: ReadonlySet<number>): number {
    return [...entries].reduce((a, b) => (newestFirst(entry(a), entry(b)) > 0 ? a : b));
  }
});

t.test("more than it holds is cut, with what follows left to Postgres", async (t) => {
  const id = await account();
  const all = Array.from({ length: CAPACITY + 200 }, (_, index) =>
    entryOf({ at: new Date(index * 10), id: `0198f0a4-0000-7000-8000-${String(index).padStart(12, "0")}` }),
  );
  await built(id, all.slice(0, 300));
  t.match(await whole(id, 100), { rest: "end" });
  for (const one of all.slice(300)) await timelines.push("timeline", [id], one);
  const found = await whole(id, 100);
  t.equal(found?.rest, "cut");
  const kept = found?.entries ?? [];
  t.ok(kept.length >= CAPACITY && kept.length <= CAPACITY + 50, `${kept.length} are kept`);
  t.same(kept, sorted(all).slice(0, kept.length));
  await t.resolves(timelines.push("timeline", [id], all[0] ?? entry(0)), "an old one that comes late");
  t.same((await whole(id, 100))?.entries, kept, "changes nothing");
});

t.test("what was built on a view of before a change is not kept, whichever of the two came first", async (t) => {
  const id = await account();
  t.equal(await built(id, [entry(1)]), true);
  await timelines.drop("timeline", id, "500");
  t.equal(await timelines.read("timeline", id, { after: null, count: 10 }), null);
  t.equal(await built(id, [entry(1)], { xmin: 500 }), false, "500 had not ended");
  t.equal(await built(id, [entry(1), entry(2)], { xmin: 501 }), true);

  const begun = await timelines.begin("timeline", id, { anew: true });
  await timelines.drop("timeline", id, "600");
  const late = { seen: seen(700), entries: packEntries(), complete: true, snapshot: Buffer.alloc(0) };
  t.equal(
    await timelines.finish("timeline", id, Object(begun).token, redis.epoch(), late),
    false,
    "begun before the drop",
  );

  for (const [running, kept] of [
    [[650], false],
    [[649, 651], true],
  ] as const) {
    await timelines.drop("timeline", id, "650");
    const again = await timelines.begin("timeline", id);
    const content = { ...late, seen: { xmin: 640, xmax: 660, running } };
    t.equal(await timelines.finish("timeline", id, Object(again).token, redis.epoch(), content), kept, String(running));
  }
});

t.test("in a Redis that was emptied nothing is kept that may not know of a change it was told of", async (t) => {
  const id = newId();
  await redis.client().del(redis.generationKey(id));
  const telling = new pg.Client({ connectionString: url });
  await telling.connect();
  await telling.query("BEGIN");
  const { rows } = await telling.query<{ xid: string }>("SELECT pg_current_xact_id()::text AS xid");
  const xid = Number(rows[0]?.xid);
  t.equal(await built(id, [entry(1)], { xmin: xid }), false, "one that was read before");
  const later = { xmin: xid, xmax: xid + 1_000_000 };
  const begun = async () => Object(await timelines.begin("timeline", id)).token;
  const finish = async (token: string, running: number[]) =>
    timelines.finish("timeline", id, token, redis.epoch(), {
      seen: { ...later, running },
      entries: packEntries(),
      complete: true,
      snapshot: Buffer.alloc(0),
    });
  t.equal(await finish(await begun(), [xid]), false, "one that did not see the end of who may have told");
  t.equal(await finish(await begun(), [xid + 1]), true);
  await telling.query("COMMIT");
  await telling.end();
  await timelines.drop("timeline", id, "1");
  const token = await begun();
  await redis.client().del(redis.generationKey(id));
  t.equal(await finish(token, []), false, "emptied meanwhile");
  await redis.client().set(redis.generationKey(id), "new one, by another server", "PX", 10_000);
  t.equal(await timelines.begin("timeline", id), "busy", "it is not known yet what may be kept");
});

t.test("one builds, others wait; who died is followed", async (t) => {
  const id = await account();
  const first = await timelines.begin("timeline", id);
  t.equal(await timelines.begin("timeline", id), "busy");
  t.equal(await timelines.begin("timeline", id, { anew: true }), "busy");
  await redis.client().hset(redis.key("viewer", id), "until", 1);
  const second = await timelines.begin("timeline", id);
  t.type(Object(second).token, "string");
  const content = { seen: seen(10), entries: packEntries(entry(1)), complete: true, snapshot: Buffer.alloc(0) };
  t.equal(
    await timelines.finish("timeline", id, Object(first).token, redis.epoch(), content),
    false,
    "given up for dead",
  );
  t.equal(await timelines.finish("timeline", id, Object(second).token, redis.epoch(), content), true);
  t.equal(await timelines.begin("timeline", id), "built");
});

t.test("the snapshot is sent only to who does not know it; what an earlier epoch left is void", async (t) => {
  const id = await account();
  await built(id, []);
  const first = await timelines.read("timeline", id, { after: null, count: 5 });
  t.match(first, { entries: exactly(), rest: "end", built: 100, snapshot: Buffer.from("snapshot") });
  const again = await timelines.read("timeline", id, { after: null, count: 5, version: first?.version });
  t.equal(again?.snapshot, null);
  await redis.client().hset(redis.key("viewer", id), "epoch", "another");
  t.equal(await timelines.read("timeline", id, { after: null, count: 5 }), null);
  t.same(positionOf(entry(4)), { at: new Date(Date.UTC(2026, 0, 1) + 1), id: "0198f0a4-0000-7000-8000-000000000028" });
});

t.test("nothing lies in Redis without an end", async (t) => {
  const id = await account();
  await timelines.drop("timeline", id, "1");
  await built(id, [entry(1)]);
  await timelines.begin("timeline", await account());
  for await (const keys of redis.scan("timeline"))
    for (const key of keys) t.ok((await redis.client().ttl(key)) > 0, key);
  for (const kind of ["viewer", "timeline-changed"]) t.ok((await redis.client().ttl(redis.key(kind, id))) > 0, kind);
});
