/** Random numbers that are the same for the same seed (xoshiro128**, seeded by splitmix32). Not for secrets. */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  constructor(seed: number) {
    let state = seed | 0;
    const mixed = () => {
      state = (state + 0x9e3779b9) | 0;
      let word = state ^ (state >>> 16);
      word = Math.imul(word, 0x21f0aaad);
      word ^= word >>> 15;
      word = Math.imul(word, 0x735a2d97);
      return word ^ (word >>> 15);
    };
    [this.#a, this.#b, this.#c, this.#d] = [mixed(), mixed(), mixed(), mixed()];
  }

  /** 32 bits, as a number from 0 on. */
  word(): number {
    const turned = Math.imul(this.#b, 5);
    const result = Math.imul((turned << 7) | (turned >>> 25), 9) >>> 0;
    const shifted = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= shifted;
    this.#d = (this.#d << 11) | (this.#d >>> 21);
    return result;
  }

  /** From 0 on, below 1. */
  next(): number {
    return this.word() / 2 ** 32;
  }

  /** A whole number from 0 on, below `end`. */
  below(end: number): number {
    return Math.floor(this.next() * end);
  }

  /** A UUIDv7 of that time, in milliseconds. */
  uuid(at: number): string {
    const time = at.toString(16).padStart(12, "0");
    const hex = (word: number, digits: number) => word.toString(16).padStart(8, "0").slice(-digits);
    const variant = (8 + (this.word() & 3)).toString(16);
    return `${time.slice(0, 8)}-${time.slice(8)}-7${hex(this.word(), 3)}-${variant}${hex(this.word(), 3)}-${hex(this.word(), 4)}${hex(this.word(), 8)}`;
  }
}

/** How much comes to each of so many: by Zipf's law the one of rank k gets 1/k of the first's, else all get the same. */
export type Spread = "zipf" | "even";

/** Draws indexes below `count`, 0 being the rank that comes most often. */
export function drawer(count: number, spread: Spread): (random: Random) => number {
  if (spread === "even") return (random) => random.below(count);
  const upTo = new Float64Array(count);
  let sum = 0;
  for (let index = 0; index < count; index++) {
    sum += 1 / (index + 1);
    upTo[index] = sum;
  }
  return (random) => {
    const drawn = random.next() * sum;
    let [low, high] = [0, count - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((upTo[middle] ?? 0) > drawn) high = middle;
      else low = middle + 1;
    }
    return low;
  };
}

/** Parts `total` among `count`, as whole numbers that sum up to it. */
export function shares(total: number, count: number, spread: Spread): number[] {
  const weights = Array.from({ length: count }, (_, index) => (spread === "zipf" ? 1 / (index + 1) : 1));
  const sum = weights.reduce((a, b) => a + b, 0);
  let [weight, given] = [0, 0];
  return weights.map((own) => {
    weight += own;
    const upTo = Math.round((total * weight) / sum);
    const share = upTo - given;
    given = upTo;
    return share;
  });
}
