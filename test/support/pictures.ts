/**
 * Pictures for tests, made when asked for: the same arguments give the same picture. Four corners of four colours,
 * so that a turned, mirrored or cut picture shows; a gradient, so that a lost bit depth shows; grain, so that files
 * have the size of photos.
 */
import { deflateSync } from "node:zlib";
import sharp, { type Sharp } from "sharp";
import { pngChunk } from "./containers.ts";

export type PictureOptions = {
  format?: "jpeg" | "png" | "webp" | "gif" | "avif" | "tiff";
  /** As it is to be seen, in pixels: an orientation turns the stored pixels, not these. */
  width?: number;
  height?: number;
  /** EXIF orientation, 1 to 8. The stored pixels are turned the other way, so that what is seen stays the same. */
  orientation?: number;
  /** Adds EXIF with a camera's name and GPS_PLACE, and XMP with SECRET. */
  gps?: boolean;
  /** A transparent square in the middle (not in JPEG). */
  alpha?: boolean;
  /** Bits a channel; 16 is for PNG. */
  depth?: 8 | 16;
  /** More than one make an animation (GIF, WebP); those after the first have their colours inverted. */
  frames?: number;
  /** Stored in this colour space, with its ICC profile; what is seen stays the same. */
  profile?: "p3" | "cmyk";
  grey?: boolean;
  /** Of JPEG, WebP and AVIF, 1 to 100. */
  quality?: number;
  progressive?: boolean;
  /** How much each value is shaken, 0 to 255. */
  grain?: number;
};

/** Found in the bytes of a picture made with `gps`, and in no rendition of it. */
export const SECRET = "tintype-test-secret-place";
export const GPS_PLACE = { GPSLatitudeRef: "N", GPSLatitude: "51/1 30/1 26/1", GPSLongitudeRef: "W" } as const;

type Colour = readonly [red: number, green: number, blue: number];

/** The colours of the corners, by where they are seen. */
export const CORNERS = {
  topLeft: [200, 40, 40],
  topRight: [40, 180, 60],
  bottomLeft: [40, 70, 210],
  bottomRight: [220, 200, 50],
} as const satisfies Record<string, Colour>;

/** One file of a picture. */
export async function picture(options: PictureOptions = {}): Promise<Buffer> {
  const { format = "jpeg", width = 640, height = 480, orientation = 1, frames = 1, alpha = false } = options;
  const upright = scene({ width, height, alpha, grain: options.grain ?? 12, frames });
  const stored = turned(upright, orientation);
  let image = sharp(stored.data, {
    raw: {
      width: stored.width,
      height: stored.height * frames,
      channels: stored.channels,
      ...(frames > 1 ? { pageHeight: stored.height } : {}),
    },
  });
  if (options.grey) image = image.toColourspace("b-w");
  if (options.profile === "p3") image = image.withIccProfile("p3");
  if (options.profile === "cmyk") image = image.toColourspace("cmyk").withIccProfile("cmyk");
  if (options.depth === 16) image = image.toColourspace("rgb16");
  if (options.gps) image = withPlace(image);
  if (orientation !== 1) image = image.withMetadata({ orientation });
  return encoded(image, format, options);
}

/** A JPEG of some 5 MB and 6 megapixels. */
export function largePhoto(): Promise<Buffer> {
  return picture({ width: 2725, height: 2225, grain: 110, quality: 97 });
}

/** The first part of a file; half of it, unless another share is asked for. */
export function truncated(file: Buffer, share = 0.5): Buffer {
  return file.subarray(0, Math.floor(file.length * share));
}

/** A PNG of one colour with very many pixels in a small file (30000 × 30000 in 110 KB). */
export function bomb(width = 30_000, height = 30_000): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header[8] = 1; // one bit a pixel, grey
  const pixels = Buffer.alloc((Math.ceil(width / 8) + 1) * height);
  return Buffer.concat([
    Buffer.from("\x89PNG\r\n\x1a\n", "latin1"),
    pngChunk("IHDR", header),
    pngChunk("IDAT", deflateSync(pixels)),
    pngChunk("IEND", Buffer.alloc(0)),
  ]);
}

export function svg(): Buffer {
  return Buffer.from(
    '<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64">' +
      '<rect width="64" height="64" fill="red"/></svg>\n',
  );
}

export function pdf(): Buffer {
  const body =
    "%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n" +
    "3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 64 64]>>endobj\n";
  return Buffer.from(`${body}trailer<</Root 1 0 R>>\n%%EOF\n`);
}

/** Red, green, blue and alpha (0 to 255) at a place of a picture's file; x and y are shares of its width and height. */
export async function colourAt(file: Buffer, x: number, y: number): Promise<[number, number, number, number]> {
  const { data, info } = await sharp(file).ensureAlpha().raw().toBuffer({ resolveWithObject: true });
  const column = Math.min(info.width - 1, Math.floor(x * info.width));
  const row = Math.min(info.height - 1, Math.floor(y * info.height));
  const at = (row * info.width + column) * 4;
  return [data[at] ?? 0, data[at + 1] ?? 0, data[at + 2] ?? 0, data[at + 3] ?? 0];
}

/** The corners of a picture's file that do not have their colour, in words. */
export async function wrongCorners(file: Buffer, within = 30): Promise<string[]> {
  const places = [
    ["topLeft", 0.2, 0.2],
    ["topRight", 0.8, 0.2],
    ["bottomLeft", 0.2, 0.8],
    ["bottomRight", 0.8, 0.8],
  ] as const;
  const wrong: string[] = [];
  for (const [corner, x, y] of places) {
    const colour = await colourAt(file, x, y);
    if (!isNear(colour, CORNERS[corner], within)) wrong.push(`${corner}: ${colour}`);
  }
  return wrong;
}

/** Whether no value is further than `within` from the one that is expected in its place. */
export function isNear(actual: readonly number[], expected: readonly number[], within: number): boolean {
  return expected.every((value, i) => Math.abs(value - (actual[i] ?? Number.NaN)) <= within);
}

/** How far two files' pixels are apart: the mean over all values, 0 to 255. Infinity where their sizes differ. */
export async function difference(one: Buffer, other: Buffer): Promise<number> {
  const [a, b] = await Promise.all(
    [one, other].map((file) => sharp(file).ensureAlpha().raw().toBuffer({ resolveWithObject: true })),
  );
  if (!a || !b || a.info.width !== b.info.width || a.info.height !== b.info.height) return Number.POSITIVE_INFINITY;
  let sum = 0;
  for (let i = 0; i < a.data.length; i++) sum += Math.abs((a.data[i] ?? 0) - (b.data[i] ?? 0));
  return sum / a.data.length;
}

type Pixels = { data: Buffer; width: number; height: number; channels: 3 | 4; frames: number };

function scene(options: { width: number; height: number; alpha: boolean; grain: number; frames: number }): Pixels {
  const { width, height, alpha, grain, frames } = options;
  const channels = alpha ? 4 : 3;
  const data = Buffer.alloc(width * height * channels * frames);
  let random = 1;
  let at = 0;
  for (let frame = 0; frame < frames; frame++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const colour = cornerOf(x / width, y / height);
        const light = (x / width) * 24 - 12;
        random = (Math.imul(random, 1664525) + 1013904223) >>> 0;
        const shake = (random / 2 ** 32 - 0.5) * grain;
        for (const value of colour) {
          const lit = Math.max(0, Math.min(255, Math.round(value + light + shake)));
          data[at++] = frame === 0 ? lit : 255 - lit;
        }
        if (alpha) data[at++] = isMiddle(x / width) && isMiddle(y / height) ? 0 : 255;
      }
    }
  }
  return { data, width, height, channels, frames };
}

function cornerOf(x: number, y: number): Colour {
  if (y < 0.5) return x < 0.5 ? CORNERS.topLeft : CORNERS.topRight;
  return x < 0.5 ? CORNERS.bottomLeft : CORNERS.bottomRight;
}

function isMiddle(share: number): boolean {
  return share >= 0.4 && share < 0.6;
}

/** Where the pixel stored at (x, y) is seen in a picture of `width` × `height`, by the EXIF standard's table. */
const SEEN_AT: Record<number, (x: number, y: number, width: number, height: number) => [number, number]> = {
  1: (x, y) => [x, y],
  2: (x, y, width) => [width - 1 - x, y],
  3: (x, y, width, height) => [width - 1 - x, height - 1 - y],
  4: (x, y, _width, height) => [x, height - 1 - y],
  5: (x, y) => [y, x],
  6: (x, y, width) => [width - 1 - y, x],
  7: (x, y, width, height) => [width - 1 - y, height - 1 - x],
  8: (x, y, _width, height) => [y, height - 1 - x],
};

function turned(upright: Pixels, orientation: number): Pixels {
  const seenAt = SEEN_AT[orientation];
  if (!seenAt) throw new RangeError(`orientation ${orientation}`);
  if (orientation === 1) return upright;
  const { channels } = upright;
  const [width, height] = orientation >= 5 ? [upright.height, upright.width] : [upright.width, upright.height];
  const data = Buffer.alloc(upright.data.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [seenX, seenY] = seenAt(x, y, upright.width, upright.height);
      const from = (seenY * upright.width + seenX) * channels;
      upright.data.copy(data, (y * width + x) * channels, from, from + channels);
    }
  }
  return { ...upright, data, width, height };
}

function withPlace(image: Sharp): Sharp {
  return image
    .withExif({ IFD0: { Make: "Tintype", Model: SECRET }, IFD3: { ...GPS_PLACE, GPSLongitude: "0/1 7/1 39/1" } })
    .withXmp(`<x:xmpmeta xmlns:x="adobe:ns:meta/"><place>${SECRET}</place></x:xmpmeta>`);
}

function encoded(image: Sharp, format: string, { quality = 85, progressive = false }: PictureOptions): Promise<Buffer> {
  switch (format) {
    case "jpeg":
      return image.jpeg({ quality, progressive }).toBuffer();
    case "png":
      return image.png({ progressive }).toBuffer();
    case "webp":
      return image.webp({ quality }).toBuffer();
    case "gif":
      return image.gif().toBuffer();
    case "avif":
      return image.avif({ quality, effort: 2 }).toBuffer();
    default:
      return image.tiff().toBuffer();
  }
}
