import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { renderPicture } from "./render.ts";

export type RenditionsMeasured = {
  /** Pictures a second, one after the other: decoded, four renditions written, thumbhash. */
  renditionsPerSecond: number;
  /** Pictures a second, one after the other: decoded and resized to 1080, nothing else. */
  decodeResizePerSecond: number;
  /** The median of the pairs' own ratios; the goal is at least 0.28. */
  ratio: number;
};

/**
 * Measures what the renditions of `input` (a picture's bytes) cost against its decoding alone. Both run in this
 * process, in turn, so that a machine that is busy for a while slows both of a pair. It decodes `input` here: only
 * for a picture that is trusted. After it, this process reads no other format than the decoder does.
 */
export async function measureRenditions(input: Buffer, { pairs }: { pairs: number }): Promise<RenditionsMeasured> {
  const dir = await mkdtemp(join(tmpdir(), "tintype-bench-"));
  try {
    const path = join(dir, "original");
    await writeFile(path, input);
    const render = () => renderPicture(path, dir, { maxPixels: 50e6 });
    const decodeResize = () =>
      sharp(path).autoOrient().resize(1080, 1080, { fit: "inside", withoutEnlargement: true }).raw().toBuffer();
    // The first runs load the codecs and fill the allocator's arenas.
    for (let i = 0; i < 2; i++) {
      await decodeResize();
      await render();
    }
    const measured: { reference: number; own: number }[] = [];
    for (let i = 0; i < pairs; i++) {
      measured.push({ reference: await millisecondsOf(decodeResize), own: await millisecondsOf(render) });
    }
    return {
      renditionsPerSecond: 1000 / median(measured.map(({ own }) => own)),
      decodeResizePerSecond: 1000 / median(measured.map(({ reference }) => reference)),
      ratio: median(measured.map(({ own, reference }) => reference / own)),
    };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function millisecondsOf(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}
