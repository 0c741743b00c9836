import type { Outcome } from "./feed.ts";
import type { Mutant } from "./mutate.ts";

/** What a decoder said, without what differs from file to file. */
export function signatureOf({ end, code, detail }: Outcome): string {
  const words = detail
    .replace(/^.*?\(/, "(")
    .replace(/\/\S+/g, "FILE")
    .replace(/0x[0-9a-f]+|\d+/gi, "N")
    .slice(0, 160);
  return [end, code, words].filter(Boolean).join(" ");
}

/** @returns how often each outcome was, most often first. */
export function countsOf(outcomes: Iterable<Outcome>): [outcome: string, count: number][] {
  const counts = new Map<string, number>();
  for (const { end, code } of outcomes) {
    const name = `${end} ${code}`.trim();
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return [...counts].sort((one, other) => other[1] - one[1]);
}

/** The smallest mutant of each way to end. */
export function smallest(
  outcomes: ReadonlyMap<number, Outcome>,
  mutant: (index: number) => Mutant,
): { signature: string; mutant: Mutant; count: number }[] {
  const found = new Map<string, { signature: string; mutant: Mutant; count: number }>();
  for (const [index, outcome] of outcomes) {
    const signature = signatureOf(outcome);
    const one = mutant(index);
    const known = found.get(signature);
    if (!known) found.set(signature, { signature, mutant: one, count: 1 });
    else {
      known.count++;
      if (one.file.length < known.mutant.file.length) known.mutant = one;
    }
  }
  return [...found.values()].sort((one, other) => other.count - one.count);
}
