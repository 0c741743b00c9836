import sharp from "sharp";

/**
 * A sound picture with 200 MB of pixels that must all be in memory at once, because they come in seven passes; a file of
 * 2 MB. Each number gives a file of its own, and a decoder the same to do.
 */
export async function swelling(n: number): Promise<Buffer> {
  base ??= sharp({ create: { width: 7_000, height: 7_000, channels: 4, background: "#3456789a" } })
    .png({ progressive: true, compressionLevel: 1 })
    .toBuffer();
  const number = Buffer.alloc(4);
  number.writeUInt32BE(n);
  // Nobody reads what comes behind a PNG's end.
  return Buffer.concat([await base, number]);
}
let base: Promise<Buffer> | undefined;
