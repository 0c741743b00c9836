/** The pipeline that the service was first designed with: what ours is held against. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import sharp, { type Sharp } from "sharp";
import type { RenditionName } from "./protocol.ts";

const RESOLUTIONS = [
  { name: "thumbnail", size: 150, quality: 80 },
  { name: "small", size: 320, quality: 85 },
  { name: "medium", size: 640, quality: 85 },
  { name: "large", size: 1080, quality: 90 },
] as const satisfies { name: RenditionName; size: number; quality: number }[];

/**
 * Turned upright and stored again in the format in which it came; of that four pipelines of their own, one after the
 * other: all cut square, as WebP with sharp's own effort. Writes them as renderPicture does.
 */
export async function renderByDesign(input: Buffer, outputDir: string): Promise<void> {
  const normalized = await sharp(input).rotate().toBuffer();
  for (const { name, size, quality } of RESOLUTIONS) {
    const processed = await squareOf(normalized, size).webp({ quality }).toBuffer();
    await writeFile(join(outputDir, `${name}.webp`), processed);
  }
}

/** The same before it is encoded, as PNG by name. */
export async function pixelsByDesign(input: Buffer): Promise<Record<RenditionName, Buffer>> {
  const normalized = await sharp(input).rotate().toBuffer();
  const files = RESOLUTIONS.map(async ({ name, size }) => [name, await squareOf(normalized, size).png().toBuffer()]);
  return Object.fromEntries(await Promise.all(files));
}

function squareOf(normalized: Buffer, size: number): Sharp {
  return sharp(normalized).resize(size, size, { fit: "cover", position: "center" });
}
