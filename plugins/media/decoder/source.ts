/** Opens a picture of any format that is taken: tells its size, and gives its pixels to sharp. */
import { open, readFile } from "node:fs/promises";
import sharp, { type Sharp } from "sharp";
import { type HeifColour, heifEnd, readHeif } from "../heif.ts";
import { isAnimatedPng, sniffPicture } from "../sniff.ts";
import { isHdr, profileOf } from "./colour.ts";
import { PictureError } from "./protocol.ts";

// A child sees each file once, so a cache would only hold memory; and its parent runs one child a core, so a second
// thread in libvips would only take time from a sibling.
sharp.cache(false);
sharp.concurrency(1);

// Everything is refused but what is named. SVG, PDF and TIFF parsers come with sharp, switched on, and choose
// themselves by content whatever the file is called.
sharp.block({ operation: ["VipsForeignLoad"] });
sharp.unblock({
  operation: [
    "VipsForeignLoadJpeg",
    "VipsForeignLoadPng",
    "VipsForeignLoadWebp",
    "VipsForeignLoadNsgif",
    "VipsForeignLoadHeif",
  ],
});

/** Enough for the boxes of AVIF before the pixels, and for the chunks of PNG. */
const HEAD_BYTES = 256 * 1024;

export type Size = { width: number; height: number };

export type Source = Size & {
  animated: boolean;
  /** A pipeline that gives the pixels upright. To be used once. */
  pixels: Sharp;
  /** The ICC profile that they are of, where sharp does not know it by itself. */
  profile: Uint8Array | null;
  /** More than 8 bits a channel, 16 in sharp. */
  deep: boolean;
  /** To be called when the pixels are no longer held. */
  reclaim: () => void;
};

/**
 * `width` and `height` are of the picture as it is to be seen.
 *
 * Throws PictureError (PICTURE_UNREADABLE, PICTURE_TOO_LARGE, PICTURE_FORMAT_UNSUPPORTED); any other error is the
 * machine's fault.
 */
export async function openSource(inputPath: string, maxPixels: number): Promise<Source> {
  const head = await readHead(inputPath);
  const seen = sniffPicture(head);
  if ("unsupported" in seen) throw new PictureError("PICTURE_FORMAT_UNSUPPORTED", seen.unsupported);
  if (seen.format === "heic") return openHeic(inputPath, maxPixels);

  const pixels = sharp(inputPath, { limitInputPixels: maxPixels, failOn: "error" }).autoOrient();
  const header = await pixels.metadata().catch(refuse);
  // The loader of AVIF also opens HEIC's container, whose codec is not in here.
  if (header.format === "heif" && header.compression !== "av1") {
    throw new PictureError("PICTURE_FORMAT_UNSUPPORTED", `HEIF with codec ${header.compression}`);
  }
  checkSize(header, maxPixels);
  return {
    width: header.autoOrient.width,
    height: header.autoOrient.height,
    animated: header.format === "png" ? isAnimatedPng(head) : header.format !== "heif" && (header.pages ?? 1) > 1,
    pixels,
    profile: header.icc || header.format !== "heif" ? null : profileIn(readHeif(head)?.colour ?? null),
    deep: header.depth === "ushort",
    reclaim: () => {},
  };
}

async function openHeic(inputPath: string, maxPixels: number): Promise<Source> {
  const [file, { decodeHeic, reclaimHeic }] = await Promise.all([readFile(inputPath), import("./heic.ts")]);
  const { codec = null, colour = null } = readHeif(file) ?? {};
  if (codec !== null && codec !== "HEVC") throw new PictureError("PICTURE_FORMAT_UNSUPPORTED", `HEIF of ${codec}`);
  const deep = colour !== null && "transfer" in colour && isHdr(colour);
  const { data, width, height, channels, animated } = decodeHeic(file.subarray(0, heifEnd(file)), { maxPixels, deep });
  checkSize({ width, height }, maxPixels);
  return {
    width,
    height,
    animated,
    pixels: sharp(data, { raw: { width, height, channels } }),
    profile: profileIn(colour),
    deep: data instanceof Uint16Array,
    reclaim: reclaimHeic,
  };
}

function profileIn(colour: HeifColour | null): Uint8Array | null {
  if (!colour) return null;
  return "icc" in colour ? colour.icc : profileOf(colour);
}

function checkSize({ width, height }: Size, maxPixels: number): void {
  if (width * height > maxPixels) throw new PictureError("PICTURE_TOO_LARGE", `${width} x ${height} pixels`);
}

async function readHead(path: string): Promise<Buffer> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/**
 * The limit of its process, which the parent counts as it counts a kill for the memory that it took. The loaders say
 * nearly the same of files that claim too much, which cost nothing.
 */
const OUT_OF_MEMORY = /vips_tracked: out of memory|Unspecified: Memory allocation error/;

/** Turns what sharp says about a file into a code; what is no fault of the file is thrown as it came. */
export function refuse(error: Error): never {
  const detail = error.message;
  if (/file is missing|permission denied/i.test(detail)) throw error;
  if (OUT_OF_MEMORY.test(detail)) throw new PictureError("DECODER_CRASHED", detail);
  if (/exceeds pixel limit/i.test(detail)) throw new PictureError("PICTURE_TOO_LARGE", detail);
  if (/unsupported image format|operation is blocked/i.test(detail)) {
    throw new PictureError("PICTURE_FORMAT_UNSUPPORTED", detail);
  }
  throw new PictureError("PICTURE_UNREADABLE", detail);
}
