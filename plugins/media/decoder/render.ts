/**
 * Makes the renditions of one picture. It loads a native decoder and feeds it what strangers sent, so only a
 * decoder child and the benchmark import it, never the server's process.
 */
import { createHash } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import sharp, { type Sharp } from "sharp";
import { rgbaToThumbHash } from "thumbhash";
import { withProfile } from "./colour.ts";
import {
  PictureError,
  type Rendered,
  type RenderLimits,
  type Rendition,
  type RenditionName,
  TALLEST,
} from "./protocol.ts";
import { openSource, refuse, type Size, type Source } from "./source.ts";

/**
 * Small and thumbnail are square; medium and large are the longest side of a picture that keeps its shape. Effort 2 is
 * half the time of sharp's own (4), for as many bytes within 3 % and 0.1 to 0.4 dB (measured on six photos); the small
 * ones have few pixels, so there the better encoding costs nothing.
 */
const SIZES = {
  thumbnail: { side: 150, quality: 80, effort: 4 },
  small: { side: 320, quality: 85, effort: 4 },
  medium: { side: 640, quality: 85, effort: 2 },
  large: { side: 1080, quality: 90, effort: 2 },
} as const satisfies Record<RenditionName, { side: number; quality: number; effort: number }>;

/** Width over height of what is shown lies between `tallest`, which is said of each picture, and this; beyond, the ends are cut off. */
const WIDEST = 1.91;

/** ThumbHash takes at most 100 pixels a side; it keeps so little that 64 give the same picture for half the time. */
const THUMBHASH_SIDE = 64;

/**
 * libjpeg calls these warnings, though pixels are lost and the rest of the picture is noise or grey. Its other
 * warnings (bytes too many, an unknown marker), and libpng's about colour profiles, come from sound cameras.
 */
const DAMAGE = /premature end|bad huffman|corrupt jpeg data: found marker|arithmetic/i;

type Pixels = Size & { data: Buffer; channels: 3 | 4 };

/**
 * The size of a picture that keeps its shape (within `tallest` and WIDEST) in a box of `side`, never enlarged.
 * The short side is rounded up where the limit would else be passed by half a pixel.
 */
export function shapedSize({ width, height }: Size, side: number, tallest: number): Size {
  if (width >= height) {
    const shown = Math.max(1, Math.min(side, width, Math.floor(height * WIDEST)));
    const natural = Math.round((shown * height) / Math.min(width, height * WIDEST));
    return { width: shown, height: Math.max(natural, Math.ceil(shown / WIDEST)) };
  }
  const shown = Math.max(1, Math.min(side, height, Math.floor(width / tallest)));
  const natural = Math.round((shown * width) / Math.min(height, width / tallest));
  return { width: Math.max(natural, Math.ceil(shown * tallest)), height: shown };
}

function isCut({ width, height }: Size, tallest: number): boolean {
  return width / height < tallest || width / height > WIDEST;
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
  { maxPixels, tallest = TALLEST.post }: RenderLimits,
): Promise<Rendered> {
  const { original, large, reclaim } = await decode(inputPath, { maxPixels, tallest });
  reclaim();
  // The costliest encoding starts at once: the others are made beside it.
  const [largeFile, rest] = await settleAll([
    encode("large", large, outputDir),
    renderSmaller(large, { original, tallest }, outputDir),
  ]);
  return {
    width: original.width,
    height: original.height,
    animated: original.animated,
    thumbhash: rest.thumbhash,
    renditions: [...rest.renditions, largeFile],
  };
}

/** Both squares are made from medium: a resize costs what its source has in pixels. */
async function renderSmaller(
  large: Pixels,
  { original, tallest }: { original: Size; tallest: number },
  outputDir: string,
) {
  // Lanczos twice sharpens twice: 5 % more bytes for no more likeness to what comes of the original in one step.
  const medium = await resize(large, shapedSize(original, SIZES.medium.side, tallest), "cubic");
  const square = (name: "small" | "thumbnail") =>
    resize(medium, { width: SIZES[name].side, height: SIZES[name].side }, "lanczos3").then((pixels) =>
      encode(name, pixels, outputDir),
    );
  const [mediumRendition, small, thumbnail, thumbhash] = await settleAll([
    encode("medium", medium, outputDir),
    square("small"),
    square("thumbnail"),
    hashOf(medium),
  ]);
  return { renditions: [thumbnail, small, mediumRendition], thumbhash };
}

/** Promise.all, but a failure is told only after the others too have ended: whoever hears of it removes their files. */
async function settleAll<T extends readonly unknown[] | []>(
  work: T,
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  await Promise.allSettled(work);
  return Promise.all(work);
}

/** The only decoding: large's pixels, from which the rest is made. */
async function decode(inputPath: string, { maxPixels, tallest }: Required<RenderLimits>) {
  const source = await openSource(inputPath, maxPixels);
  const { width, height, animated, reclaim } = source;
  const size = shapedSize(source, SIZES.large.side, tallest);
  const fit = isCut(source, tallest) ? "cover" : "fill";
  const damages: string[] = [];
  const shown = source.pixels
    .on("warning", (warning: string) => {
      if (DAMAGE.test(warning)) damages.push(warning);
    })
    .resize({ ...size, fit });
  const large = await toSrgb(source, shown).catch(refuse);
  if (damages[0] !== undefined) throw new PictureError("PICTURE_UNREADABLE", damages[0]);
  return { original: { width, height, animated }, large, reclaim };
}

async function toSrgb({ profile, deep }: Source, shown: Sharp): Promise<Pixels> {
  let image = shown;
  if (profile) {
    // Only a file can bring a profile to sharp. Few pixels are left to be converted by now.
    const png = await shown
      .toColourspace(deep ? "rgb16" : "srgb")
      .png({ compressionLevel: 0 })
      .toBuffer();
    image = sharp(withProfile(png, profile));
  }
  // Of 16 bits sharp works in the space of Display P3, and would leave the pixels there.
  if (deep) image = image.pipelineColourspace("srgb");
  const { data, info } = await image
    .toColourspace("srgb")
    .raw({ depth: "uchar" })
    .toBuffer({ resolveWithObject: true });
  return { data, width: info.width, height: info.height, channels: info.channels === 4 ? 4 : 3 };
}

function fromPixels({ data, width, height, channels }: Pixels) {
  return sharp(data, { raw: { width, height, channels } });
}

/** Fills `size`, cutting off what does not fit it. */
async function resize(source: Pixels, size: Size, kernel: "cubic" | "lanczos3"): Promise<Pixels> {
  if (source.width === size.width && source.height === size.height) return source;
  const data = await fromPixels(source)
    .resize({ ...size, kernel })
    .raw()
    .toBuffer();
  return { data, ...size, channels: source.channels };
}

async function encode(name: RenditionName, pixels: Pixels, outputDir: string): Promise<Rendition> {
  const { quality, effort } = SIZES[name];
  const file = await fromPixels(pixels).webp({ quality, effort }).toBuffer();
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
