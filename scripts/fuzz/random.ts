import { createHash } from "node:crypto";

/** Numbers that follow from a seed and an index alone. */
export interface Random {
  /** A whole number from 0 to `below` - 1. */
  below(below: number): number;
  pick<T>(values: readonly T[]): T;
  /** True so often out of a hundred times. */
  percent(share: number): boolean;
}

/** mulberry32, begun from a hash, so that neighbouring indexes have nothing in common. */
export function randomOf(seed: number, index: number): Random {
  let state = createHash("sha256").update(`${seed}:${index}`).digest().readUInt32BE();
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (limit: number) => Math.floor(next() * limit);
  return {
    below,
    pick<T>(values: readonly T[]): T {
      const value = values[below(values.length)];
      if (value === undefined) throw new RangeError("nothing to pick from");
      return value;
    },
    percent: (share) => next() * 100 < share,
  };
}
