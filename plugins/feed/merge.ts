import type { Stretch } from "./timelines.ts";

/** What several lists together say of the feed. */
export interface Merged {
  /** The newest first, each once: all that there are down to where the first list ends. */
  entries: Buffer[];
  /**
   * What comes after them: `end` nothing, `more` further entries of the lists, `cut` what only Postgres knows. The last
   * two begin after `from`; null is the place where the lists were asked to begin.
   */
  rest: Stretch["rest"];
  from: Buffer | null;
}

/**
 * Merges lists that are sorted, the newest first. Below the last entry of a list that goes on elsewhere nothing is known
 * of what it has, so the merge ends with the highest of those.
 */
export function mergeStretches(stretches: readonly Stretch[]): Merged {
  const open = stretches.filter(({ rest }) => rest !== "end");
  const [first] = open.toSorted((a, b) => compareLast(a, b));
  const from = first?.entries.at(-1) ?? null;
  // A list that is cut at once says nothing at all, and then none of the others may.
  const usable = first && from === null ? [] : stretches.map(({ entries }) => untilLast(entries, from));
  return { entries: mergeSorted(usable), rest: first?.rest ?? "end", from };
}

/** The list that ends first, seen from the newest; of two that end at one place the one that is cut. */
function compareLast(a: Stretch, b: Stretch): number {
  const [lastA, lastB] = [a.entries.at(-1), b.entries.at(-1)];
  if (!lastA || !lastB) return lastA ? 1 : lastB ? -1 : Number(b.rest === "cut") - Number(a.rest === "cut");
  return lastB.compare(lastA) || Number(b.rest === "cut") - Number(a.rest === "cut");
}

function untilLast(entries: readonly Buffer[], last: Buffer | null): readonly Buffer[] {
  return last === null ? entries : entries.filter((entry) => entry.compare(last) >= 0);
}

/** As many heads as there are lists are looked at for each entry: they are few. */
function mergeSorted(lists: readonly (readonly Buffer[])[]): Buffer[] {
  const [only] = lists;
  if (only && lists.length === 1) return [...only];
  const next = lists.map(() => 0);
  const merged: Buffer[] = [];
  for (;;) {
    let newest: Buffer | undefined;
    for (const [index, list] of lists.entries()) {
      const head = list[next[index] ?? 0];
      if (head && (!newest || head.compare(newest) > 0)) newest = head;
    }
    if (!newest) return merged;
    merged.push(newest);
    for (const [index, list] of lists.entries()) {
      if (list[next[index] ?? 0]?.equals(newest)) next[index] = (next[index] ?? 0) + 1;
    }
  }
}
