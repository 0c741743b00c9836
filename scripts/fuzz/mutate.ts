import type { Original } from "./corpus.ts";
import { type Field, layoutOf, type Part, repairChecksums } from "./fields.ts";
import { type Random, randomOf } from "./random.ts";

/** A damaged picture. */
export interface Mutant {
  index: number;
  /** What was done to which original, in words. */
  recipe: string;
  file: Buffer;
}

type Mutation = (file: Buffer, random: Random, corpus: readonly Original[]) => Buffer;

/** What programs trip over: ends of ranges, and one more. */
const EDGES = [0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff];
/** A mutant stays small: there are to be thousands. */
const LARGEST = 200_000;

const MUTATIONS: Readonly<Record<string, Mutation>> = {
  "bits flipped": (file, random) => {
    for (let n = 1 + random.below(16); n > 0; n--) {
      const at = random.below(file.length);
      file[at] = (file[at] ?? 0) ^ (1 << random.below(8));
    }
    return file;
  },
  "bytes set": (file, random) => {
    for (let n = 1 + random.below(8); n > 0; n--) {
      file[random.below(file.length)] = random.percent(50) ? random.pick(EDGES) & 0xff : random.below(256);
    }
    return file;
  },
  "header edited": (file, random) => {
    for (let n = 1 + random.below(4); n > 0; n--) {
      file[random.below(Math.min(file.length, 128))] = random.percent(50)
        ? random.pick(EDGES) & 0xff
        : random.below(256);
    }
    return file;
  },
  "field edited": (file, random) => {
    const { fields } = layoutOf(file);
    for (let n = fields.length === 0 ? 0 : 1 + random.below(3); n > 0; n--) edit(file, random.pick(fields), random);
    return file;
  },
  "part removed": (file, random) =>
    onPart(file, random, ({ start, end }) => [file.subarray(0, start), file.subarray(end)]),
  "part doubled": (file, random) =>
    onPart(file, random, ({ start, end }) => [file.subarray(0, end), file.subarray(start)]),
  "parts exchanged": (file, random) => {
    const { parts } = layoutOf(file);
    if (parts.length < 2) return file;
    const [one, two] = [random.pick(parts), random.pick(parts)].sort((a, b) => a.start - b.start);
    if (!one || !two || one.end > two.start) return file;
    return Buffer.concat([
      file.subarray(0, one.start),
      file.subarray(two.start, two.end),
      file.subarray(one.end, two.start),
      file.subarray(one.start, one.end),
      file.subarray(two.end),
    ]);
  },
  "stretch removed": (file, random) => {
    const { start, end } = stretch(file, random);
    return Buffer.concat([file.subarray(0, start), file.subarray(end)]);
  },
  "stretch doubled": (file, random) => {
    const { start, end } = stretch(file, random);
    return Buffer.concat([file.subarray(0, end), file.subarray(start)]);
  },
  "stretch of one byte": (file, random) => {
    const { start, end } = stretch(file, random);
    return file.fill(random.pick(EDGES) & 0xff, start, end);
  },
  "bytes put in": (file, random) => {
    const at = random.below(file.length + 1);
    const bytes = Buffer.from(Array.from({ length: 1 + random.below(64) }, () => random.below(256)));
    return Buffer.concat([file.subarray(0, at), bytes, file.subarray(at)]);
  },
  truncated: (file, random) => file.subarray(0, 1 + random.below(file.length)),
  "spliced with another": (file, random, corpus) => {
    const other = random.pick(corpus);
    const tail = other.file.subarray(random.below(other.file.length));
    return Buffer.concat([file.subarray(0, 1 + random.below(file.length)), tail]);
  },
  "another inside": (file, random, corpus) => {
    const other = random.pick(corpus).file;
    const from = random.below(other.length);
    const piece = other.subarray(from, from + 1 + random.below(512));
    const at = random.below(file.length);
    piece.copy(file, at, 0, Math.min(piece.length, file.length - at));
    return file;
  },
};

/** The mutant of this number. The same seed, number and corpus give the same bytes. */
export function mutantOf(corpus: readonly Original[], seed: number, index: number): Mutant {
  const random = randomOf(seed, index);
  const original = random.pick(corpus);
  let file = Buffer.from(original.file);
  const recipe: string[] = [];
  for (let n = random.percent(60) ? 1 : 2 + random.below(3); n > 0; n--) {
    const name = random.pick(Object.keys(MUTATIONS));
    file = Buffer.from(MUTATIONS[name]?.(file, random, corpus) ?? file).subarray(0, LARGEST);
    if (file.length === 0) file = Buffer.from([random.below(256)]);
    recipe.push(name);
  }
  if (random.percent(70)) repairChecksums(file);
  return { index, recipe: `${original.name}: ${recipe.join(", ")}`, file };
}

function edit(file: Buffer, { at, size, endian }: Field, random: Random): void {
  if (at + size > file.length) return;
  const before = endian === "big" ? file.readUIntBE(at, size) : file.readUIntLE(at, size);
  const value = random.pick([
    random.pick(EDGES),
    before + 1,
    before - 1,
    before * 2,
    before >>> 1,
    random.below(2 ** 32),
  ]);
  const kept = ((value % 2 ** (8 * size)) + 2 ** (8 * size)) % 2 ** (8 * size);
  if (endian === "big") file.writeUIntBE(kept, at, size);
  else file.writeUIntLE(kept, at, size);
}

function onPart(file: Buffer, random: Random, change: (part: Part) => Buffer[]): Buffer {
  const { parts } = layoutOf(file);
  return parts.length === 0 ? file : Buffer.concat(change(random.pick(parts)));
}

function stretch(file: Buffer, random: Random): Part {
  const start = random.below(file.length);
  return { start, end: Math.min(file.length, start + 1 + random.below(random.percent(80) ? 64 : file.length)) };
}
