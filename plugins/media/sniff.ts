/**
 * Tells what an uploaded file is from its first bytes, in the server's own process: plain JavaScript that reads
 * within the bounds of the buffer, never throws and takes time in proportion to its length at most.
 */
import { readHeif } from "./heif.ts";

const CONTENT_TYPES = {
  jpeg: "image/jpeg",
  png: "image/png",
  webp: "image/webp",
  gif: "image/gif",
  avif: "image/avif",
  heic: "image/heic",
} as const;

export type PictureFormat = keyof typeof CONTENT_TYPES;

export type Sniffed =
  | { format: PictureFormat; contentType: (typeof CONTENT_TYPES)[PictureFormat] }
  /** What it is instead, in words: "TIFF picture", "unknown file". */
  | { unsupported: string };

/** Files that start with these bytes (latin1), at offset 0. The longer of two that share a beginning comes first. */
const SIGNATURES: readonly (readonly [bytes: string, words: string])[] = [
  ["II*\0", "TIFF picture"],
  ["MM\0*", "TIFF picture"],
  ["II+\0", "TIFF picture"],
  ["MM\0+", "TIFF picture"],
  ["%PDF-", "PDF document"],
  ["%!PS", "PostScript document"],
  ["8BPS", "Photoshop document"],
  ["\xff\x0a", "JPEG XL picture"],
  ["\0\0\0\x0cJXL ", "JPEG XL picture"],
  ["\0\0\0\x0cjP  ", "JPEG 2000 picture"],
  ["\xff\x4f\xff\x51", "JPEG 2000 picture"],
  ["\0\0\x01\0", "icon"],
  ["BM", "BMP picture"],
  ["id=ImageMagick", "ImageMagick picture"],
  ["PK\x03\x04", "ZIP archive"],
  ["PK\x05\x06", "ZIP archive"],
  ["\x1f\x8b", "gzip archive"],
  ["7z\xbc\xaf\x27\x1c", "7z archive"],
  ["Rar!\x1a\x07", "RAR archive"],
  ["\x1aE\xdf\xa3", "WebM or Matroska video"],
  ["OggS", "Ogg file"],
  ["ID3", "MP3 sound"],
  ["fLaC", "FLAC sound"],
  ["\x7fELF", "program"],
  ["MZ", "program"],
];

/** ISO media files name themselves by brands. */
const AVIF_BRANDS = ["avif", "avis"];
const HEIC_BRANDS = ["heic", "heix", "heim", "heis", "hevc", "hevx"];
/** Says only that there are pictures; the codec is told further in. */
const ANY_PICTURE_BRANDS = ["mif1", "mif2", "mif3", "msf1"];

/** The codecs that a HEIF file is taken with. */
const HEIF_FORMATS: Readonly<Record<string, PictureFormat>> = { HEVC: "heic", AV1: "avif" };

/** Of the other brands the first that is known decides. */
const BRANDS: readonly (readonly [brand: string, words: string])[] = [
  ["avci", "HEIF picture of AVC"],
  ["jpeg", "HEIF picture of JPEG"],
  ["crx ", "camera's raw picture"],
  ["qt  ", "QuickTime video"],
  ["M4A ", "MP4 sound"],
];

/** No more of a text is looked at for its first tag. */
const TEXT_BYTES = 1024;
/** No more of a HEIF file is looked at for its codec, so that the answer does not depend on how much has come yet. */
const CODEC_BYTES = 4096;

/** Tells a file by its content; `head` are its first bytes, 4 KB being enough for what can be told. */
export function sniffPicture(head: Buffer): Sniffed {
  const start = head.toString("latin1", 0, 16);
  if (start.startsWith("\xff\xd8\xff")) return picture("jpeg");
  if (start.startsWith("\x89PNG\r\n\x1a\n")) return picture("png");
  if (start.startsWith("GIF87a") || start.startsWith("GIF89a")) return picture("gif");
  if (start.startsWith("RIFF")) {
    const kind = start.slice(8, 12);
    if (kind === "WEBP") return picture("webp");
    return { unsupported: kind === "AVI " ? "AVI video" : kind === "WAVE" ? "WAV sound" : "unknown file" };
  }
  if (start.slice(4, 8) === "ftyp") return sniffIsoMedia(head);
  if (head.length === 0) return { unsupported: "empty file" };
  const words = SIGNATURES.find(([bytes]) => start.startsWith(bytes))?.[1];
  return { unsupported: words ?? textOf(head) ?? "unknown file" };
}

/**
 * Width and height of the stored picture in pixels (before any EXIF orientation), from its headers alone; null where
 * `head` does not hold them. It is what the file claims: the decoder has the last word.
 */
export function readDimensions(head: Buffer, format: PictureFormat): { width: number; height: number } | null {
  const found = READERS[format](head);
  return found && found.width > 0 && found.height > 0 ? found : null;
}

/** Whether a PNG has further frames (APNG): `acTL` stands before the pixels. */
export function isAnimatedPng(head: Buffer): boolean {
  let at = 8;
  while (at + 8 <= head.length) {
    const type = head.toString("latin1", at + 4, at + 8);
    if (type === "acTL") return at + 12 <= head.length && head.readUInt32BE(at + 8) > 1;
    if (type === "IDAT") return false;
    at += 12 + head.readUInt32BE(at);
  }
  return false;
}

type Dimensions = { width: number; height: number };

const READERS: Record<PictureFormat, (head: Buffer) => Dimensions | null> = {
  jpeg: jpegDimensions,
  png: (head) =>
    head.length >= 24 && head.toString("latin1", 12, 16) === "IHDR"
      ? { width: head.readUInt32BE(16), height: head.readUInt32BE(20) }
      : null,
  gif: (head) => (head.length >= 10 ? { width: head.readUInt16LE(6), height: head.readUInt16LE(8) } : null),
  webp: webpDimensions,
  avif: (head) => readHeif(head)?.size ?? null,
  heic: (head) => readHeif(head)?.size ?? null,
};

function picture(format: PictureFormat): Sniffed {
  return { format, contentType: CONTENT_TYPES[format] };
}

function sniffIsoMedia(head: Buffer): Sniffed {
  const brands = brandsOf(head);
  const has = (known: readonly string[]) => known.some((brand) => brands.includes(brand));
  if (has(AVIF_BRANDS)) return picture("avif");
  if (has(HEIC_BRANDS)) return picture("heic");
  const other = BRANDS.find(([brand]) => brands.includes(brand))?.[1] ?? "MP4 video";
  if (!has(ANY_PICTURE_BRANDS)) return { unsupported: other };
  // Where it lies too deep to be told, the decoder finds out.
  const codec = readHeif(head.subarray(0, CODEC_BYTES))?.codec ?? "HEVC";
  const format = HEIF_FORMATS[codec];
  return format ? picture(format) : { unsupported: `HEIF picture of ${codec}` };
}

/** The major brand and the compatible ones of an `ftyp` box at the start. */
function brandsOf(head: Buffer): string[] {
  const end = Math.min(head.length, head.readUInt32BE(0), TEXT_BYTES);
  const brands = [head.toString("latin1", 8, 12)];
  for (let at = 16; at + 4 <= end; at += 4) brands.push(head.toString("latin1", at, at + 4));
  return brands;
}

function textOf(head: Buffer): string | undefined {
  const bytes = head.subarray(0, TEXT_BYTES);
  const wide = bytes[0] === 0xff && bytes[1] === 0xfe;
  const text = bytes
    .toString(wide ? "utf16le" : "utf8")
    .replace(/^\uFEFF/, "")
    .trimStart()
    .toLowerCase();
  if (!text.startsWith("<")) return undefined;
  if (text.includes("<svg")) return "SVG drawing";
  if (text.startsWith("<!doctype html") || text.includes("<html")) return "HTML page";
  return text.startsWith("<?xml") ? "XML document" : undefined;
}

/** Walks the segments up to the frame header; a preview inside EXIF lies within a segment and is stepped over. */
function jpegDimensions(head: Buffer): Dimensions | null {
  let at = 2;
  while (at + 9 <= head.length) {
    const marker = head[at + 1] ?? 0;
    // Stray bytes before a marker are skipped, as the decoder does; a run of 0xFF is padding.
    if (head[at] !== 0xff || marker === 0xff || marker === 0) {
      at += 1;
    } else if (marker === 0x01 || (marker >= 0xd0 && marker <= 0xd8)) {
      at += 2;
    } else if (marker === 0xd9 || marker === 0xda) {
      return null;
    } else if (marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc) {
      return { width: head.readUInt16BE(at + 7), height: head.readUInt16BE(at + 5) };
    } else {
      at += 2 + Math.max(2, head.readUInt16BE(at + 2));
    }
  }
  return null;
}

function webpDimensions(head: Buffer): Dimensions | null {
  if (head.length < 30) return null;
  switch (head.toString("latin1", 12, 16)) {
    case "VP8X":
      return { width: head.readUIntLE(24, 3) + 1, height: head.readUIntLE(27, 3) + 1 };
    case "VP8L": {
      if (head[20] !== 0x2f) return null;
      const bits = head.readUInt32LE(21);
      return { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 };
    }
    case "VP8 ":
      if (head.readUIntBE(23, 3) !== 0x9d012a) return null;
      return { width: head.readUInt16LE(26) & 0x3fff, height: head.readUInt16LE(28) & 0x3fff };
    default:
      return null;
  }
}
