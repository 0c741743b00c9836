import fc from "fast-check";
import t from "tap";
import { type Entry, entryOf, positionOf } from "./entries.ts";
import { mergeStretches } from "./merge.ts";

const entry = (n: number) => entryOf({ at: new Date(n), id: `0198f0a4-0000-7000-8000-${String(n).padStart(12, "0")}` });
const numbers = (entries: readonly Entry[]) => entries.map((one) => positionOf(one).at.getTime());

t.test("what is merged is all that there is above the first end, each once, and nothing below", async (t) => {
  const list = fc.record({
    numbers: fc.uniqueArray(fc.integer({ min: 1, max: 30 }), { maxLength: 12 }),
    rest: fc.constantFrom("more" as const, "cut" as const, "end" as const),
  });
  fc.assert(
    fc.property(fc.array(list, { minLength: 1, maxLength: 4 }), (lists) => {
      // A list that has more shows at least one.
      const given = lists.filter(({ numbers, rest }) => rest !== "more" || numbers.length > 0);
      const stretches = given.map(({ numbers, rest }) => ({
        entries: numbers.toSorted((a, b) => b - a).map(entry),
        rest,
      }));
      const merged = mergeStretches(stretches);

      const open = given.filter(({ rest }) => rest !== "end");
      const end = (one: (typeof open)[number]) => Math.min(...one.numbers, Number.POSITIVE_INFINITY);
      const floor = Math.max(...open.map(end), Number.NEGATIVE_INFINITY);
      const wanted = [...new Set(given.flatMap(({ numbers }) => numbers))]
        .filter((n) => n >= floor)
        .sort((a, b) => b - a);
      t.same(numbers(merged.entries), wanted);
      const ends = open.filter((one) => end(one) === floor).map(({ rest }) => rest);
      t.equal(merged.rest, ends.length === 0 ? "end" : ends.includes("cut") ? "cut" : "more");
      t.equal(merged.from && positionOf(merged.from).at.getTime(), Number.isFinite(floor) ? floor : null);
    }),
    { numRuns: 500 },
  );
});
