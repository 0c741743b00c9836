import { type Entry, newestFirst } from "./entries.ts";
import type { Stretch } from "./timelines.ts";

/** What several lists together say of the feed. */
export interface Merged {
  /** The newest first, each once: all that there are down to where the first list ends. */
  entries: Entry[];
  /**
   * What comes after them: `end` nothing, `more` further entries of the lists, `cut` what only Postgres knows. The last
   * two begin after `from`; null is the place where the lists were asked to begin.
   */
  rest: Stretch["rest"];
  from: Entry | null;
}

/**
 * Merges lists that are sorted, the newest first. Below the last entry of a list that goes on elsewhere nothing is known
 * of what it has, so the merge ends with the highest of those.
 */
export function mergeStretches(stretches: readonly Stretch[]): Merged {
  const [first] = stretches.filter(({ rest }) => rest !== "end").sort(compareLast);
  const from = first?.entries.at(-1) ?? null;
  const rest = first?.rest ?? "end";
  // A list that is cut at once says nothing at all, and then none of the others may.
  if (first && from === null) return { entries: [], rest, from };
  return { entries: mergeSorted(stretches, from), rest, from };
}

/** The list that ends first, seen from the newest; of two that end at one place the one that is cut. */
function compareLast(a: Stretch, b: Stretch): number {
  const [lastA, lastB] = [a.entries.at(-1), b.entries.at(-1)];
  const cutFirst = Number(b.rest === "cut") - Number(a.rest === "cut");
  if (lastA === undefined || lastB === undefined) return lastA ? 1 : lastB ? -1 : cutFirst;
  return newestFirst(lastA, lastB) || cutFirst;
}

/** As many heads as there are lists are looked at for each entry: they are few. @param last the last entry, null for all. */
function mergeSorted(stretches: readonly Stretch[], last: Entry | null): Entry[] {
  const heads = stretches.map(() => 0);
  const merged: Entry[] = [];
  for (;;) {
    let newest: Entry | undefined;
    for (let list = 0; list < stretches.length; list++) {
      const head = stretches[list]?.entries[heads[list] ?? 0];
      if (head && (newest === undefined || newestFirst(head, newest) < 0)) newest = head;
    }
    if (newest === undefined || (last !== null && newestFirst(newest, last) > 0)) return merged;
    merged.push(newest);
    for (let list = 0; list < stretches.length; list++) {
      const head = heads[list] ?? 0;
      if (stretches[list]?.entries[head]?.id === newest.id) heads[list] = head + 1;
    }
  }
}
