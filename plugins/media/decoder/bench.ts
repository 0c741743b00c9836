import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { ssim } from "ssim.js";
import { RENDITION_NAMES, type RenditionName } from "./protocol.ts";
import { pixelsByDesign, renderByDesign } from "./reference.ts";
import { renderPicture } from "./render.ts";

/** Pictures a second, one after the other, and the median of the pairs' own ratios. */
export type Speeds = { own: number; reference: number; ratio: number };

export type RenditionsMeasured = {
  /** Four renditions and the thumbhash against decoding and resizing to 1080 alone. */
  decodeResize: Speeds;
  /** Of the picture's largest square against the pipeline of reference.ts, which cuts everything square. */
  design: Speeds & Likeness;
};

/** How two sets of four renditions compare, by structural similarity (SSIM). */
export type Likeness = {
  /** Of each of ours with the reference's, as both are decoded: the least of the four. */
  ssim: number;
  /** The SSIM of each with the pixels that the reference encoded, against the reference's own: where it is least. */
  fidelity: { ratio: number; own: number; reference: number };
  /** The least of the reference's own SSIM with the pixels that it encoded. */
  referenceSsim: number;
  /** Of all four. */
  ownBytes: number;
  referenceBytes: number;
};

const LIMITS = { maxPixels: 50e6 };

/**
 * Measures what the renditions of `input` (a picture's bytes) cost. What is compared runs in this process, in turn, so
 * that a machine that is busy for a while slows both of a pair. It decodes `input` here: only for a picture that is
 * trusted. After it, this process reads no other format than the decoder does.
 */
export async function measureRenditions(input: Buffer, { pairs }: { pairs: number }): Promise<RenditionsMeasured> {
  const dir = await mkdtemp(join(tmpdir(), "tintype-bench-"));
  try {
    const [path, squarePath, ownDir, designDir] = ["original", "square", "own", "design"].map((name) =>
      join(dir, name),
    );
    if (!path || !squarePath || !ownDir || !designDir) throw new TypeError("four names give four paths");
    const square = await largestSquare(input);
    await Promise.all([writeFile(path, input), writeFile(squarePath, square), mkdir(ownDir), mkdir(designDir)]);
    const decodeResize = await compare(pairs, {
      reference: () =>
        sharp(path).autoOrient().resize(1080, 1080, { fit: "inside", withoutEnlargement: true }).raw().toBuffer(),
      own: () => renderPicture(path, ownDir, LIMITS),
    });
    const speeds = await compare(pairs, {
      reference: async () => renderByDesign(await readFile(squarePath), designDir),
      own: () => renderPicture(squarePath, ownDir, LIMITS),
    });
    return {
      decodeResize,
      design: { ...speeds, ...(await compareFiles(ownDir, designDir, await pixelsByDesign(square))) },
    };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function compare(pairs: number, work: Record<keyof Omit<Speeds, "ratio">, () => Promise<unknown>>) {
  // The first runs load the codecs and fill the allocator's arenas.
  for (let i = 0; i < 2; i++) {
    await work.reference();
    await work.own();
  }
  const measured: { reference: number; own: number }[] = [];
  for (let i = 0; i < pairs; i++) {
    measured.push({ reference: await millisecondsOf(work.reference), own: await millisecondsOf(work.own) });
  }
  return {
    own: 1000 / median(measured.map(({ own }) => own)),
    reference: 1000 / median(measured.map(({ reference }) => reference)),
    ratio: median(measured.map(({ own, reference }) => reference / own)),
  };
}

async function compareFiles(
  ownDir: string,
  referenceDir: string,
  target: Record<RenditionName, Buffer>,
): Promise<Likeness> {
  const all: Likeness[] = [];
  for (const name of RENDITION_NAMES) {
    const [own, reference] = await Promise.all([
      readFile(join(ownDir, `${name}.webp`)),
      readFile(join(referenceDir, `${name}.webp`)),
    ]);
    const [ours, theirs, wanted] = await Promise.all([own, reference, target[name]].map(pixelsOf));
    if (!ours || !theirs || !wanted) throw new TypeError("three files give three pictures");
    const [ownSsim, referenceSsim] = [ssim(ours, wanted).mssim, ssim(theirs, wanted).mssim];
    all.push({
      ssim: ssim(ours, theirs).mssim,
      fidelity: { ratio: ownSsim / referenceSsim, own: ownSsim, reference: referenceSsim },
      referenceSsim,
      ownBytes: own.length,
      referenceBytes: reference.length,
    });
  }
  const [fidelity] = all.map((one) => one.fidelity).sort((a, b) => a.ratio - b.ratio);
  if (!fidelity) throw new TypeError("there are four renditions");
  return {
    ssim: Math.min(...all.map((one) => one.ssim)),
    fidelity,
    referenceSsim: Math.min(...all.map((one) => one.referenceSsim)),
    ownBytes: all.reduce((sum, one) => sum + one.ownBytes, 0),
    referenceBytes: all.reduce((sum, one) => sum + one.referenceBytes, 0),
  };
}

async function pixelsOf(file: Buffer) {
  const { data, info } = await sharp(file).ensureAlpha().raw().toBuffer({ resolveWithObject: true });
  return { data: new Uint8ClampedArray(data), width: info.width, height: info.height };
}

/** Of its middle, upright, as a camera would store it. */
async function largestSquare(input: Buffer): Promise<Buffer> {
  const { autoOrient } = await sharp(input).metadata();
  const side = Math.min(autoOrient.width, autoOrient.height);
  return sharp(input).autoOrient().resize(side, side, { fit: "cover" }).jpeg({ quality: 95 }).toBuffer();
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
