import { setImmediate as turn } from "node:timers/promises";
import t from "tap";
import { coalesce } from "./coalesce.ts";

/** A query that ends when the test says so. */
function held() {
  const calls: Array<{
    keys: readonly string[];
    end: (values: Map<string, number>) => void;
    fail: (error: Error) => void;
  }> = [];
  const load = (keys: readonly string[]) => {
    const { promise, resolve, reject } = Promise.withResolvers<ReadonlyMap<string, number>>();
    calls.push({ keys, end: resolve, fail: reject });
    return promise;
  };
  return { calls, load };
}

t.test("whoever asks while a query is under way is answered by the next one", async (t) => {
  const { calls, load } = held();
  const read = coalesce(load, { batch: 10 });
  const first = read(["a"]);
  const others = [read(["a", "b", "a"]), read(["b", "c"])];
  await turn();
  t.equal(calls.length, 1, "one at a time");
  calls[0]?.end(new Map([["a", 1]]));
  t.same(await first, new Map([["a", 1]]));
  await turn();
  t.same(calls[1]?.keys, ["a", "b", "c"]);
  calls[1]?.end(
    new Map([
      ["a", 2],
      ["b", 3],
    ]),
  );
  t.same(
    await Promise.all(others),
    [
      new Map([
        ["a", 2],
        ["b", 3],
      ]),
      new Map([["b", 3]]),
    ],
    "c has no value",
  );
  t.equal(calls.length, 2);
});

t.test("a query has a bounded number of keys", async (t) => {
  const { calls, load } = held();
  const read = coalesce(load, { batch: 2 });
  const all = read(["a", "b", "c", "d", "e"]);
  for (let call = 0; call < 3; call++) {
    await turn();
    const { keys = [], end } = calls[call] ?? {};
    end?.(new Map(keys.map((key) => [key, call])));
  }
  t.same(
    await all,
    new Map([
      ["a", 0],
      ["b", 0],
      ["c", 1],
      ["d", 1],
      ["e", 2],
    ]),
  );
  t.same(await read([]), new Map());
  t.equal(calls.length, 3);
});

t.test("what a query fails with reaches all who wait for it, and nobody else", async (t) => {
  const { calls, load } = held();
  const read = coalesce(load, { batch: 10 });
  const first = read(["a"]);
  const second = [read(["a"]), read(["b", "a"])];
  calls[0]?.fail(new Error("lost"));
  await t.rejects(first, { message: "lost" });
  await turn();
  calls[1]?.end(
    new Map([
      ["a", 1],
      ["b", 2],
    ]),
  );
  t.same(await Promise.all(second), [
    new Map([["a", 1]]),
    new Map([
      ["b", 2],
      ["a", 1],
    ]),
  ]);
});
