import { glob, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import sharp from "sharp";
import { bomb, type PictureOptions, picture } from "../../test/support/pictures.ts";

/** A sound picture that mutants are made of. */
export interface Original {
  name: string;
  file: Buffer;
}

const FIXTURES = join(import.meta.dirname, "../../test/fixtures/pictures");
/** Larger ones would make thousands of mutants too slow. */
const LARGEST = 100_000;

const PICTURES: Readonly<Record<string, PictureOptions>> = {
  jpeg: {},
  "progressive jpeg": { progressive: true },
  "grey jpeg": { grey: true },
  "jpeg with EXIF and XMP": { gps: true, orientation: 6 },
  "P3 jpeg": { profile: "p3" },
  png: { format: "png" },
  "png with alpha": { format: "png", alpha: true },
  "16-bit png": { format: "png", depth: 16 },
  "interlaced png": { format: "png", progressive: true },
  gif: { format: "gif" },
  "animated gif": { format: "gif", frames: 3 },
  webp: { format: "webp" },
  "webp with alpha and EXIF": { format: "webp", alpha: true, gps: true },
  "animated webp": { format: "webp", frames: 3 },
  avif: { format: "avif" },
  "avif with alpha and EXIF": { format: "avif", alpha: true, gps: true },
};

/** Every format that is taken, in its kinds, and the fixtures of the tests. */
export async function readCorpus(): Promise<Original[]> {
  const corpus: Original[] = [];
  for (const [name, options] of Object.entries(PICTURES)) {
    corpus.push({ name, file: await picture({ width: 64, height: 48, grain: 40, ...options }) });
  }
  const small = sharp(await picture({ width: 48, height: 48, grain: 40 }));
  corpus.push(
    { name: "png with a palette", file: await small.clone().png({ palette: true, colours: 16 }).toBuffer() },
    { name: "1-bit png", file: bomb(64, 48) },
    { name: "lossless webp", file: await small.clone().webp({ lossless: true }).toBuffer() },
    { name: "10-bit avif", file: await small.clone().avif({ bitdepth: 10, chromaSubsampling: "4:2:0" }).toBuffer() },
    { name: "lossless avif", file: await small.clone().avif({ lossless: true }).toBuffer() },
    // With its colour profile it would have a megabyte.
    { name: "CMYK jpeg", file: await small.clone().toColourspace("cmyk").jpeg().toBuffer() },
    { name: "jpeg 4:4:4", file: await small.clone().jpeg({ chromaSubsampling: "4:4:4" }).toBuffer() },
  );
  const fixtures = await Array.fromAsync(
    glob("**/*.{jpg,jpeg,png,gif,webp,avif,heic,heif,hif,mpo}", { cwd: FIXTURES }),
  );
  for (const path of fixtures.sort()) {
    const file = await readFile(join(FIXTURES, path));
    if (file.length <= LARGEST) corpus.push({ name: basename(path), file });
  }
  return corpus;
}
