/**
 * Reads what a HEIF file (HEIC, AVIF) says of its primary picture: codec, size, colours. Plain JavaScript that reads
 * within the bounds of the buffer, never throws and takes time in proportion to its length at most; a file that was
 * cut short says what its first part says.
 */

export type HeifPicture = {
  /** "HEVC", "AV1" …; of a grid, that of its first tile. null if not told. */
  codec: string | null;
  /** In pixels, before rotation and crop; null if not told. */
  size: { width: number; height: number } | null;
  /** An embedded ICC profile, else code points of ITU-T H.273, else null. */
  colour: HeifColour | null;
};

export type HeifColour = { icc: Buffer } | { primaries: number; transfer: number };

/** By the type of the item that holds the pixels. */
const CODECS: Readonly<Record<string, string>> = {
  hvc1: "HEVC",
  hev1: "HEVC",
  av01: "AV1",
  avc1: "AVC",
  vvc1: "VVC",
  evc1: "EVC",
  jpeg: "JPEG",
  j2k1: "JPEG 2000",
  unci: "no codec",
};

type Span = { start: number; end: number };

/** Types of items that are made of others. */
const DERIVED = ["grid", "iovl", "iden"];
/** A picture of a rotated picture of a grid is as deep as it gets; a circle ends here too. */
const MAX_DERIVATIONS = 4;

/** What the `meta` box of the file says; null where `file` (all of it, or its first part) has none. */
export function readHeif(file: Buffer): HeifPicture | null {
  const meta = first(file, { start: 0, end: file.length }, "meta");
  if (!meta) return null;
  const contents = { start: meta.start + 4, end: meta.end };
  const primary = primaryItem(file, contents);
  const types = itemTypes(file, contents);
  const parts = firstParts(file, contents);
  const properties = itemProperties(file, contents);

  let colour: HeifColour | null = null;
  let type: string | undefined;
  let item: number | undefined = primary;
  for (let depth = 0; item !== undefined && depth < MAX_DERIVATIONS; depth++) {
    const own = properties.get(item) ?? [];
    // Some encoders describe the colours of the tiles only.
    colour ??= colourOf(file, own);
    type = types.get(item);
    item = type !== undefined && DERIVED.includes(type) ? parts.get(item) : undefined;
  }
  const codec = type === undefined || DERIVED.includes(type) ? null : (CODECS[type] ?? "an unknown codec");
  return { codec, size: sizeOf(file, properties.get(primary ?? -1) ?? []), colour };
}

/** What else stands side by side with the pictures in a HEIF file. */
const TOP_LEVEL = ["ftyp", "meta", "mdat", "moov", "free", "skip"];

/**
 * Where the HEIF file ends, in bytes: phones put a film behind it, or a trailer of their own. One that was cut short
 * is taken to reach further than `file`, whose length is then the answer.
 */
export function heifEnd(file: Buffer): number {
  let end = 0;
  for (const { type, start, end: next, whole } of boxes(file, { start: 0, end: file.length })) {
    const isSecondFile = type === "ftyp" && start > 16;
    if (isSecondFile || (!whole && !TOP_LEVEL.includes(type))) return end;
    end = next;
  }
  return end;
}

/** `whole`: it does not reach past the span that it was looked for in. */
type Box = Span & { type: string; whole: boolean };

function sizeOf(file: Buffer, properties: readonly Box[]): HeifPicture["size"] {
  const box = properties.find(({ type, start, end }) => type === "ispe" && end - start >= 12);
  return box ? { width: file.readUInt32BE(box.start + 4), height: file.readUInt32BE(box.start + 8) } : null;
}

function colourOf(file: Buffer, properties: readonly Box[]): HeifColour | null {
  let found: HeifColour | null = null;
  for (const { type, start, end } of properties) {
    if (type !== "colr" || end - start < 4) continue;
    const kind = fourCharacters(file, start);
    if (kind === "prof" || kind === "rICC") return { icc: file.subarray(start + 4, end) };
    if (kind === "nclx" && end - start >= 8) {
      found ??= { primaries: file.readUInt16BE(start + 4), transfer: file.readUInt16BE(start + 6) };
    }
  }
  return found;
}

function primaryItem(file: Buffer, meta: Span): number | undefined {
  const box = first(file, meta, "pitm");
  if (!box) return undefined;
  const reader = new Reader(file, box);
  const version = reader.version();
  return reader.integer(version === 0 ? 2 : 4);
}

function itemTypes(file: Buffer, meta: Span): Map<number, string> {
  const types = new Map<number, string>();
  const box = first(file, meta, "iinf");
  if (!box) return types;
  const start = box.start + 4 + (file[box.start] === 0 ? 2 : 4);
  for (const entry of boxes(file, { start, end: box.end }, "infe")) {
    const reader = new Reader(file, entry);
    const version = reader.version();
    const id = reader.integer(version === 2 ? 2 : 4);
    reader.integer(2);
    if (version < 2 || id === undefined || reader.at + 4 > entry.end) continue;
    types.set(id, fourCharacters(file, reader.at));
  }
  return types;
}

/** Of each item that is made of others the first of those. */
function firstParts(file: Buffer, meta: Span): Map<number, number> {
  const parts = new Map<number, number>();
  const box = first(file, meta, "iref");
  if (!box) return parts;
  const bytes = file[box.start] === 0 ? 2 : 4;
  for (const reference of boxes(file, { start: box.start + 4, end: box.end }, "dimg")) {
    const reader = new Reader(file, reference);
    const from = reader.integer(bytes);
    const count = reader.integer(2);
    const to = reader.integer(bytes);
    if (from !== undefined && count && to !== undefined && !parts.has(from)) parts.set(from, to);
  }
  return parts;
}

function itemProperties(file: Buffer, meta: Span): Map<number, Box[]> {
  const found = new Map<number, Box[]>();
  const box = first(file, meta, "iprp");
  const container = box && first(file, box, "ipco");
  if (!box || !container) return found;
  const all = [...boxes(file, container)];
  for (const association of boxes(file, box, "ipma")) {
    const reader = new Reader(file, association);
    const version = reader.version();
    const wide = ((file[association.start + 3] ?? 0) & 1) === 1;
    const entries = reader.integer(4) ?? 0;
    for (let i = 0; i < entries && reader.at < association.end; i++) {
      const id = reader.integer(version < 1 ? 2 : 4);
      const count = reader.integer(1) ?? 0;
      const own: Box[] = [];
      for (let j = 0; j < count; j++) {
        const index = (reader.integer(wide ? 2 : 1) ?? 0) & (wide ? 0x7fff : 0x7f);
        const property = all[index - 1];
        if (property) own.push(property);
      }
      if (id !== undefined && !found.has(id)) found.set(id, own);
    }
  }
  return found;
}

/** Big-endian integers one after the other; undefined once they would lie past the end of the box. */
class Reader {
  readonly #file: Buffer;
  readonly #end: number;
  at: number;

  constructor(file: Buffer, { start, end }: Span) {
    this.#file = file;
    this.#end = end;
    this.at = start;
  }

  /** The first byte of the four that a "full" box begins with. */
  version(): number {
    return (this.integer(4) ?? 0) >>> 24;
  }

  integer(bytes: number): number | undefined {
    const at = this.at;
    this.at += bytes;
    return this.at <= this.#end ? this.#file.readUIntBE(at, bytes) : undefined;
  }
}

function fourCharacters(file: Buffer, at: number): string {
  return file.toString("latin1", at, at + 4);
}

function first(file: Buffer, within: Span, type: string): Box | undefined {
  return boxes(file, within, type).next().value ?? undefined;
}

/** The contents of the boxes that lie side by side in a span, of one type or of all. */
function* boxes(file: Buffer, { start, end }: Span, wanted?: string): Generator<Box, undefined> {
  let at = start;
  while (at + 8 <= end) {
    const short = file.readUInt32BE(at);
    const long = short === 1;
    if (long && at + 16 > end) return;
    const size = long
      ? file.readUInt32BE(at + 8) * 2 ** 32 + file.readUInt32BE(at + 12)
      : short === 0
        ? end - at
        : short;
    const contents = at + (long ? 16 : 8);
    const next = at + size;
    if (next < contents) return;
    const type = fourCharacters(file, at + 4);
    if (wanted === undefined || type === wanted) {
      yield { type, start: contents, end: Math.min(next, end), whole: next <= end };
    }
    at = next;
  }
}
