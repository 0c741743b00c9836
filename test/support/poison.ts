/**
 * Sound pictures that are hard on a decoder; each number gives a file of its own, and a decoder the same to do. Which
 * limits they break is for whoever configures those.
 */
import sharp from "sharp";

/** 100 MB of pixels that must all be in memory at once, because they come in seven passes. A file of 1 MB. */
export async function swelling(n: number): Promise<Buffer> {
  swellingBase ??= sharp({ create: { width: 5_000, height: 5_000, channels: 4, background: "#3456789a" } })
    .png({ progressive: true, compressionLevel: 1 })
    .toBuffer();
  // Nobody reads what comes behind a PNG's end.
  return Buffer.concat([await swellingBase, numberOf(n)]);
}
let swellingBase: Promise<Buffer> | undefined;

/** An AVIF of 32 megapixels of noise: some seconds of work on one core, and 0.6 GB of memory. A file of 3 MB. */
export async function stalling(n: number): Promise<Buffer> {
  stallingBase ??= sharp({
    create: {
      width: 7_000,
      height: 4_600,
      channels: 3,
      background: "#345678",
      noise: { type: "gaussian", mean: 128, sigma: 30 },
    },
  })
    .avif({ effort: 0, quality: 40 })
    .toBuffer();
  const box = Buffer.concat([Buffer.from("\0\0\0\x0cfree", "latin1"), numberOf(n)]);
  return Buffer.concat([await stallingBase, box]);
}
let stallingBase: Promise<Buffer> | undefined;

function numberOf(n: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(n);
  return bytes;
}
