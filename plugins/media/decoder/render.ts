/**
 * Makes the renditions of one picture. It loads a native decoder and feeds it what strangers sent, so only a
 * decoder child and the benchmark import it, never the server's process.
 */
import { createHash } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import sharp from "sharp";
import { rgbaToThumbHash } from "thumbhash";
import { PictureError, type Rendered, type RenderLimits, type Rendition, type RenditionName } from "./protocol.ts";

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

/** Small and thumbnail are square; medium and large are the longest side of a picture that keeps its shape. */
const SIZES = {
  thumbnail: { side: 150, quality: 80 },
  small: { side: 320, quality: 85 },
  medium: { side: 640, quality: 85 },
  large: { side: 1080, quality: 90 },
} as const satisfies Record<RenditionName, { side: number; quality: number }>;

/** Width over height of what is shown lies between these; beyond, the ends are cut off. */
const TALLEST = 4 / 5;
const WIDEST = 1.91;

/** Half the time of the default effort (4), for as many bytes within 3 % and 0.1 to 0.4 dB (measured on six photos). */
const WEBP_EFFORT = 2;

/** ThumbHash takes at most 100 pixels a side; it keeps so little that 64 give the same picture for half the time. */
const THUMBHASH_SIDE = 64;

/**
 * libjpeg calls these warnings, though pixels are lost and the rest of the picture is noise or grey. Its other
 * warnings (bytes too many, an unknown marker), and libpng's about colour profiles, come from sound cameras.
 */
const DAMAGE = /premature end|bad huffman|corrupt jpeg data: found marker|arithmetic/i;

/**
 * The limit of its process, which the parent counts as it counts a kill for the memory that it took. The loaders say
 * nearly the same of files that claim too much, which cost nothing.
 */
const OUT_OF_MEMORY = /vips_tracked: out of memory|Unspecified: Memory allocation error/;

type Size = { width: number; height: number };
type Pixels = Size & { data: Buffer; channels: 3 | 4 };

/**
 * The size of a picture that keeps its shape (within TALLEST and WIDEST) in a box of `side`, never enlarged.
 * The short side is rounded up where the limit would else be passed by half a pixel.
 */
export function shapedSize({ width, height }: Size, side: number): Size {
  if (width >= height) {
    const shown = Math.max(1, Math.min(side, width, Math.floor(height * WIDEST)));
    const natural = Math.round((shown * height) / Math.min(width, height * WIDEST));
    return { width: shown, height: Math.max(natural, Math.ceil(shown / WIDEST)) };
  }
  const shown = Math.max(1, Math.min(side, height, Math.floor(width / TALLEST)));
  const natural = Math.round((shown * width) / Math.min(height, width / TALLEST));
  return { width: Math.max(natural, Math.ceil(shown * TALLEST)), height: shown };
}

function isCut({ width, height }: Size): boolean {
  return width / height < TALLEST || width / height > WIDEST;
}

/**
 * Writes `thumbnail.webp` (150 × 150), `small.webp` (320 × 320), `medium.webp` and `large.webp` (within 640 and
 * 1080) into `outputDir`: upright, sRGB, 8 bits, alpha kept, without metadata.
 *
 * Throws PictureError (PICTURE_UNREADABLE, PICTURE_TOO_LARGE, PICTURE_FORMAT_UNSUPPORTED); any other error is the
 * machine's fault (no such file, disk full).
 */
export async function renderPicture(
  inputPath: string,
  outputDir: string,
  { maxPixels }: RenderLimits,
): Promise<Rendered> {
  const original = await readHeader(inputPath, maxPixels);
  const large = await decode(inputPath, maxPixels, original);
  // The costliest encoding starts at once: the others are made beside it.
  const [largeFile, rest] = await settleAll([
    encode("large", large, outputDir),
    renderSmaller(large, original, outputDir),
  ]);
  return {
    width: original.width,
    height: original.height,
    animated: original.animated,
    thumbhash: rest.thumbhash,
    renditions: [...rest.renditions, largeFile],
  };
}

/** Each is made from the next larger one: a resize costs what its source has in pixels. */
async function renderSmaller(large: Pixels, original: Size, outputDir: string) {
  const medium = await resize(large, shapedSize(original, SIZES.medium.side));
  const mediumFile = encode("medium", medium, outputDir);
  const squares = resize(medium, { width: SIZES.small.side, height: SIZES.small.side }).then(async (small) =>
    settleAll([
      resize(small, { width: SIZES.thumbnail.side, height: SIZES.thumbnail.side }).then((thumbnail) =>
        encode("thumbnail", thumbnail, outputDir),
      ),
      encode("small", small, outputDir),
    ]),
  );
  const [mediumRendition, squareRenditions, thumbhash] = await settleAll([mediumFile, squares, hashOf(medium)]);
  return { renditions: [...squareRenditions, mediumRendition], thumbhash };
}

/** Promise.all, but a failure is told only after the others too have ended: whoever hears of it removes their files. */
async function settleAll<T extends readonly unknown[] | []>(
  work: T,
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  await Promise.allSettled(work);
  return Promise.all(work);
}

async function readHeader(inputPath: string, maxPixels: number): Promise<Size & { animated: boolean }> {
  const header = await sharp(inputPath, { limitInputPixels: maxPixels, failOn: "error" }).metadata().catch(refuse);
  // The loader of AVIF also opens HEIC's container, whose codec is not in here.
  if (header.format === "heif" && header.compression !== "av1") {
    throw new PictureError("PICTURE_FORMAT_UNSUPPORTED", `HEIF with codec ${header.compression}`);
  }
  if (header.width * header.height > maxPixels) {
    throw new PictureError("PICTURE_TOO_LARGE", `${header.width} x ${header.height} pixels`);
  }
  return {
    width: header.autoOrient.width,
    height: header.autoOrient.height,
    animated: header.format !== "heif" && (header.pages ?? 1) > 1,
  };
}

/** The only decoding: large's pixels, from which the rest is made. */
async function decode(inputPath: string, maxPixels: number, original: Size): Promise<Pixels> {
  const damages: string[] = [];
  const { data, info } = await sharp(inputPath, { limitInputPixels: maxPixels, failOn: "error" })
    .on("warning", (warning: string) => {
      if (DAMAGE.test(warning)) damages.push(warning);
    })
    .autoOrient()
    .resize({ ...shapedSize(original, SIZES.large.side), fit: isCut(original) ? "cover" : "fill" })
    .toColourspace("srgb")
    .raw({ depth: "uchar" })
    .toBuffer({ resolveWithObject: true })
    .catch(refuse);
  if (damages[0] !== undefined) throw new PictureError("PICTURE_UNREADABLE", damages[0]);
  return { data, width: info.width, height: info.height, channels: info.channels === 4 ? 4 : 3 };
}

function fromPixels({ data, width, height, channels }: Pixels) {
  return sharp(data, { raw: { width, height, channels } });
}

/** Fills `size`, cutting off what does not fit it. */
async function resize(source: Pixels, size: Size): Promise<Pixels> {
  if (source.width === size.width && source.height === size.height) return source;
  const data = await fromPixels(source).resize(size).raw().toBuffer();
  return { data, ...size, channels: source.channels };
}

async function encode(name: RenditionName, pixels: Pixels, outputDir: string): Promise<Rendition> {
  const { quality } = SIZES[name];
  const file = await fromPixels(pixels).webp({ quality, effort: WEBP_EFFORT }).toBuffer();
  const path = join(outputDir, `${name}.webp`);
  await writeFile(path, file);
  return {
    name,
    width: pixels.width,
    height: pixels.height,
    bytes: file.length,
    sha256: createHash("sha256").update(file).digest("hex"),
    path,
  };
}

async function hashOf(pixels: Pixels): Promise<string> {
  const { data, info } = await fromPixels(pixels)
    .resize({ width: THUMBHASH_SIDE, height: THUMBHASH_SIDE, fit: "inside" })
    .ensureAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true });
  return Buffer.from(rgbaToThumbHash(info.width, info.height, data)).toString("base64");
}

/** Turns what sharp says about a file into a code; what is no fault of the file is thrown as it came. */
function refuse(error: Error): never {
  const detail = error.message;
  if (/file is missing|permission denied/i.test(detail)) throw error;
  if (OUT_OF_MEMORY.test(detail)) throw new PictureError("DECODER_CRASHED", detail);
  if (/exceeds pixel limit/i.test(detail)) throw new PictureError("PICTURE_TOO_LARGE", detail);
  if (/unsupported image format|operation is blocked/i.test(detail)) {
    throw new PictureError("PICTURE_FORMAT_UNSUPPORTED", detail);
  }
  throw new PictureError("PICTURE_UNREADABLE", detail);
}
