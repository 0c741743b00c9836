import t from "tap";
import { testDatabase } from "../test/support/database.ts";
import { openDb, query } from "../test/support/product/database.ts";
import { openClient, startWorker, testJob } from "../test/support/product/jobs.ts";
import { waitFor } from "../test/support/server.ts";
import { inTransaction } from "./db/transaction.ts";
import { ConfigError } from "./errors.ts";
import { createEmit } from "./events.ts";
import { enabledFeatures, type Feature, jobsOf } from "./feature.ts";

declare module "./events.ts" {
  interface Events {
    "test.happened": { n: number };
    "test.unheard": Record<never, never>;
  }
}

const feature = (name: string, rest: Partial<Feature> = {}): Feature => ({
  name,
  summary: name,
  requires: [],
  ...rest,
});

const ALL = [
  feature("base", { core: true }),
  feature("likes", { requires: ["base"] }),
  feature("stories", { requires: ["base"] }),
  feature("replies", { requires: ["stories"] }),
];

const names = (selected: string[] | null) => enabledFeatures(ALL, selected).map(({ name }) => name);

t.test("which features are on", async (t) => {
  t.same(names(null), ["base", "likes", "stories", "replies"], "all, where none is named");
  t.same(names([]), ["base"], "core features always");
  t.same(
    names(["replies", "stories"]),
    ["base", "stories", "replies"],
    "in the order of the list, however they are named",
  );
  t.same(names(["base", "likes", "likes"]), ["base", "likes"]);
  t.throws(() => names(["likes", "reels", "Likes"]), { message: "unknown feature: reels, Likes" });
  t.throws(() => names(["replies"]), { message: "the feature replies needs stories" });
  for (const selected of [["reels"], ["replies"]]) t.throws(() => names(selected), ConfigError);
});

t.test("a feature that is off has no jobs", async (t) => {
  const job = (name: `test.${string}`) => testJob({ name, handle: async () => undefined });
  const all = [
    feature("a", { jobs: [job("test.a1"), job("test.a2")] }),
    feature("b"),
    feature("c", { jobs: [job("test.c")] }),
  ];
  t.same(
    jobsOf(enabledFeatures(all, ["a", "b"])).map(({ name }) => name),
    ["test.a1", "test.a2"],
  );
});

t.test("events are handled in the emitter's transaction", async (t) => {
  const { url } = await testDatabase(t);
  const db = openDb(t, url);
  await query(url, "CREATE TABLE heard (who text, n int)");
  const queue = await openClient(t, url);
  const handled: number[] = [];
  await startWorker(t, url, [testJob({ name: "test.follows", handle: async ({ n }) => void handled.push(n) })]);

  const context = { greeting: "hello" };
  const write =
    (who: string) =>
    async (tx: Parameters<typeof queue.enqueue>[0], { n }: { n: number }) => {
      await tx
        .insertInto("heard" as never)
        .values({ who, n } as never)
        .execute();
    };
  const seen: unknown[] = [];
  const emit = createEmit(
    [
      { "test.happened": write("first") },
      {},
      {
        "test.happened": async (tx, event, given: typeof context) => {
          seen.push(given);
          await write("second")(tx, event);
          await queue.enqueue(tx, "test.follows", event);
          if (event.n < 0) throw new Error("no negatives");
        },
      },
    ],
    () => context,
  );
  const heard = () => query(url, "SELECT who, n FROM heard ORDER BY n, ctid");

  await inTransaction(db, async (tx) => {
    await emit(tx, "test.happened", { n: 1 });
    await emit(tx, "test.unheard", {});
    t.same(await heard(), [], "nobody else sees it before the commit");
  });
  t.same(
    await heard(),
    [
      { who: "first", n: 1 },
      { who: "second", n: 1 },
    ],
    "in the order of the features",
  );
  t.equal(seen[0], context);

  await t.rejects(
    inTransaction(db, async (tx) => {
      await emit(tx, "test.happened", { n: 2 });
      throw new Error("changed my mind");
    }),
    /changed my mind/,
  );
  await t.rejects(
    inTransaction(db, (tx) => emit(tx, "test.happened", { n: -3 })),
    /no negatives/,
    "a handler that fails takes the fact with it",
  );
  await inTransaction(db, (tx) => emit(tx, "test.happened", { n: 4 }));
  t.same(
    (await heard()).map(({ n }) => n),
    [1, 1, 4, 4],
  );
  await waitFor(async () => handled.includes(4), "the last job");
  t.same(handled, [1, 4], "jobs exist exactly if the fact does");
});
