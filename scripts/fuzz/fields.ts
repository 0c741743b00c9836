/** Where a picture's format keeps what a decoder counts on. Reads damaged files too, and stops where they make no sense. */
import { crc32 } from "node:zlib";

/** A number in a file. */
export interface Field {
  at: number;
  size: 1 | 2 | 4;
  endian: "big" | "little";
}

/** A part that may be left out, doubled or exchanged as a whole: from `start` up to `end`. */
export interface Part {
  start: number;
  end: number;
}

export interface Layout {
  /** Lengths of parts, sizes of pictures, kinds of coding. */
  fields: Field[];
  parts: Part[];
}

const PNG = Buffer.from("\x89PNG\r\n\x1a\n", "latin1");
const MOST = 2_000;

export function layoutOf(file: Buffer): Layout {
  if (file.subarray(0, 8).equals(PNG)) return pngLayout(file);
  if (file.length > 3 && file.readUInt16BE(0) === 0xffd8) return jpegLayout(file);
  if (file.toString("latin1", 0, 4) === "RIFF") return riffLayout(file);
  if (file.toString("latin1", 0, 4) === "GIF8") return gifLayout(file);
  if (file.toString("latin1", 4, 8) === "ftyp") return boxLayout(file, 0, file.length);
  return { fields: [], parts: [] };
}

/** Puts right the checksums of a PNG's chunks, behind which a decoder would else never look. */
export function repairChecksums(file: Buffer): void {
  if (!file.subarray(0, 8).equals(PNG)) return;
  for (const { start, end } of pngLayout(file).parts) {
    if (end - start >= 12) file.writeUInt32BE(crc32(file.subarray(start + 4, end - 4)), end - 4);
  }
}

function pngLayout(file: Buffer): Layout {
  const layout: Layout = { fields: [], parts: [] };
  for (let at = 8; at + 12 <= file.length && layout.parts.length < MOST; ) {
    const length = file.readUInt32BE(at);
    const end = at + 12 + length;
    if (end > file.length) break;
    layout.fields.push({ at, size: 4, endian: "big" });
    if (file.toString("latin1", at + 4, at + 8) === "IHDR" && length >= 13) {
      layout.fields.push({ at: at + 8, size: 4, endian: "big" }, { at: at + 12, size: 4, endian: "big" });
      for (let flag = 16; flag < 21; flag++) layout.fields.push({ at: at + flag, size: 1, endian: "big" });
    }
    layout.parts.push({ start: at, end });
    at = end;
  }
  return layout;
}

function jpegLayout(file: Buffer): Layout {
  const layout: Layout = { fields: [], parts: [] };
  for (let at = 2; at + 4 <= file.length && file[at] === 0xff && layout.parts.length < MOST; ) {
    const marker = file[at + 1] ?? 0;
    const length = file.readUInt16BE(at + 2);
    const end = Math.min(file.length, at + 2 + length);
    layout.fields.push({ at: at + 1, size: 1, endian: "big" }, { at: at + 2, size: 2, endian: "big" });
    if (marker >= 0xc0 && marker <= 0xcf && at + 10 <= file.length) {
      layout.fields.push({ at: at + 4, size: 1, endian: "big" }, { at: at + 9, size: 1, endian: "big" });
      layout.fields.push({ at: at + 5, size: 2, endian: "big" }, { at: at + 7, size: 2, endian: "big" });
    }
    layout.parts.push({ start: at, end });
    if (marker === 0xda || length < 2) break;
    at = end;
  }
  return layout;
}

function riffLayout(file: Buffer): Layout {
  const layout: Layout = { fields: [{ at: 4, size: 4, endian: "little" }], parts: [] };
  for (let at = 12; at + 8 <= file.length && layout.parts.length < MOST; ) {
    const length = file.readUInt32LE(at + 4);
    const end = Math.min(file.length, at + 8 + length + (length % 2));
    layout.fields.push({ at: at + 4, size: 4, endian: "little" });
    for (const from of [8, 12, 14, 18]) {
      if (at + from + 4 <= file.length) layout.fields.push({ at: at + from, size: 2, endian: "little" });
    }
    layout.parts.push({ start: at, end });
    at = end;
  }
  return layout;
}

function gifLayout(file: Buffer): Layout {
  const layout: Layout = { fields: [], parts: [] };
  for (const at of [6, 8]) if (at + 2 <= file.length) layout.fields.push({ at, size: 2, endian: "little" });
  if (file.length > 11) layout.fields.push({ at: 10, size: 1, endian: "little" });
  for (let at = 13; at + 10 < file.length && layout.parts.length < MOST; at++) {
    if (file[at] !== 0x2c && !(file[at] === 0x21 && file[at + 1] === 0xf9)) continue;
    for (const from of [1, 3, 5, 7]) layout.fields.push({ at: at + from, size: 2, endian: "little" });
    layout.parts.push({ start: at, end: Math.min(file.length, at + 10) });
  }
  return layout;
}

/** Boxes that hold boxes; the number is how many bytes come before those. */
const NESTED: Readonly<Record<string, number>> = { meta: 4, iprp: 0, ipco: 0, moov: 0, trak: 0, mdia: 0, minf: 0 };

function boxLayout(file: Buffer, from: number, to: number): Layout {
  const layout: Layout = { fields: [], parts: [] };
  for (let at = from; at + 8 <= to && layout.parts.length < MOST; ) {
    const length = file.readUInt32BE(at);
    const end = length < 8 ? to : Math.min(to, at + length);
    const type = file.toString("latin1", at + 4, at + 8);
    layout.fields.push({ at, size: 4, endian: "big" });
    for (let field = at + 8; type !== "mdat" && field + 4 <= Math.min(end, at + 40); field += 4) {
      layout.fields.push({ at: field, size: 4, endian: "big" });
    }
    layout.parts.push({ start: at, end });
    const header = Object.hasOwn(NESTED, type) ? NESTED[type] : undefined;
    if (header !== undefined) {
      const inner = boxLayout(file, at + 8 + header, end);
      layout.fields.push(...inner.fields);
      layout.parts.push(...inner.parts);
    }
    at = end;
  }
  return layout;
}
