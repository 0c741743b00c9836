import { readdirSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import sharp from "sharp";
import t from "tap";
import {
  bomb,
  colourAt,
  difference,
  pdf,
  picture,
  SECRET,
  svg,
  truncated,
  wrongCorners,
} from "../../../test/support/pictures.ts";
import { measureRenditions } from "./bench.ts";
import type { Rendered, RenditionName } from "./protocol.ts";
import { TALLEST } from "./protocol.ts";
import { renderPicture, shapedSize } from "./render.ts";

const LIMITS = { maxPixels: 50e6 };
const dir = t.testdir();
let files = 0;

/** A new file with its own output directory. */
async function stage(content: Buffer): Promise<{ input: string; output: string }> {
  const name = `${files++}`;
  const input = join(dir, `${name}.jpg`);
  const output = join(dir, `${name}.out`);
  await Promise.all([writeFile(input, content), mkdir(output)]);
  return { input, output };
}

async function rendered(content: Buffer): Promise<Rendered> {
  const { input, output } = await stage(content);
  return renderPicture(input, output, LIMITS);
}

function fileOf({ renditions }: Rendered, name: RenditionName): Promise<Buffer> {
  const found = renditions.find((rendition) => rendition.name === name);
  return found ? readFile(found.path) : Promise.reject(new Error(`no ${name}`));
}

function sizesOf({ renditions }: Rendered): Record<string, string> {
  return Object.fromEntries(renditions.map(({ name, width, height }) => [name, `${width}x${height}`]));
}

t.test("renditions", async (t) => {
  await t.test("of every format: four WebP files, hashed, as described", async (t) => {
    for (const format of ["jpeg", "png", "webp", "gif", "avif"] as const) {
      const result = await rendered(await picture({ format, width: 1500, height: 1200 }));
      t.match(result, { width: 1500, height: 1200, animated: false, thumbhash: /^[A-Za-z0-9+/]{20,}=*$/ });
      t.same(sizesOf(result), { thumbnail: "150x150", small: "320x320", medium: "640x512", large: "1080x864" });
      for (const { name, width, height, bytes, sha256 } of result.renditions) {
        const file = await fileOf(result, name);
        const header = await sharp(file).metadata();
        t.match(header, { format: "webp", width, height, depth: "uchar", space: "srgb" });
        t.equal(file.length, bytes);
        t.match(sha256, /^[0-9a-f]{64}$/);
      }
      t.same(await wrongCorners(await fileOf(result, "large")), []);
      t.same(await wrongCorners(await fileOf(result, "thumbnail")), []);
    }
  });

  await t.test("the eight orientations look the same, and their metadata is gone", async (t) => {
    const options = { width: 900, height: 600, gps: true, quality: 95 };
    const upright = await rendered(await picture(options));
    const hashes = new Set<string>();
    for (let orientation = 1; orientation <= 8; orientation++) {
      const original = await picture({ ...options, orientation });
      t.ok(original.includes(SECRET) && original.includes("Exif"), "the original has what must go");
      const result = await rendered(original);
      t.match(result, { width: 900, height: 600 });
      for (const name of ["thumbnail", "small", "medium", "large"] as const) {
        const file = await fileOf(result, name);
        const apart = await difference(file, await fileOf(upright, name));
        t.ok(apart < 3, `orientation ${orientation}, ${name}: ${apart}`);
        for (const trace of [SECRET, "EXIF", "Exif", "XMP ", "ICCP", "GPS"]) t.notOk(file.includes(trace), trace);
      }
      t.same(await wrongCorners(await fileOf(result, "large")), []);
      hashes.add(result.thumbhash.slice(0, 4));
    }
    t.ok(hashes.size <= 2, "thumbhashes differ by rounding at most");
  });

  await t.test("shapes", async (t) => {
    for (const [size, large, medium] of [
      [[1, 1], "1x1", "1x1"],
      [[3, 100], "3x3", "3x3"],
      [[100, 80], "100x80", "100x80"],
      [[4000, 400], "764x400", "640x336"],
      [[300, 2400], "300x375", "300x375"],
      [[1200, 1800], "864x1080", "512x640"],
      [[2000, 1000], "1080x566", "640x336"],
    ] as const) {
      const [width, height] = size;
      const result = await rendered(await picture({ width, height }));
      t.match(result, { width, height });
      t.same(sizesOf(result), { thumbnail: "150x150", small: "320x320", medium, large }, `${width}x${height}`);
    }
    // The middle is what is kept: in a panorama of two halves they meet in the centre.
    const panorama = await fileOf(await rendered(await picture({ width: 4000, height: 400 })), "large");
    t.same(await wrongCorners(panorama), []);

    const side = fc.integer({ min: 1, max: 9000 });
    const tallest = fc.constantFrom(...Object.values(TALLEST));
    fc.assert(
      fc.property(side, side, tallest, (width, height, tallest) => {
        for (const side of [640, 1080]) {
          const shown = shapedSize({ width, height }, side, tallest);
          const ratio = shown.width / shown.height;
          if (shown.width < 1 || shown.height < 1 || shown.width > width || shown.height > height) return false;
          if (Math.max(shown.width, shown.height) > side || ratio < tallest || ratio > 1.91) return false;
        }
        return true;
      }),
    );
  });

  await t.test("colours, depth, alpha and animation", async (t) => {
    const plain = await fileOf(await rendered(await picture()), "large");
    for (const [what, options, within] of [
      ["Display P3", { profile: "p3" }, 3],
      ["CMYK", { profile: "cmyk" }, 20],
      ["16 bits", { format: "png", depth: 16 }, 3],
      ["progressive", { progressive: true }, 2],
    ] as const) {
      const apart = await difference(await fileOf(await rendered(await picture(options)), "large"), plain);
      t.ok(apart <= within, `${what}: ${apart}`);
    }
    const grey = await fileOf(await rendered(await picture({ grey: true })), "small");
    const [red, green, blue] = await colourAt(grey, 0.2, 0.2);
    t.ok(Math.abs(red - green) < 3 && Math.abs(green - blue) < 3, "grey stays grey");

    for (const format of ["png", "webp", "avif", "gif"] as const) {
      const file = await fileOf(await rendered(await picture({ format, alpha: true })), "medium");
      t.ok((await colourAt(file, 0.5, 0.5))[3] < 10, `${format}: the middle is transparent`);
      t.equal((await colourAt(file, 0.2, 0.2))[3], 255, `${format}: the rest is not`);
    }
    for (const format of ["gif", "webp"] as const) {
      const result = await rendered(await picture({ format, width: 320, height: 320, frames: 3 }));
      t.match(result, { animated: true, width: 320, height: 320 });
      t.same(await wrongCorners(await fileOf(result, "large")), []);
    }
  });
});

t.test("what is refused, and why", async (t) => {
  const refused = async (content: Buffer, code: string, what: string) => {
    const { input, output } = await stage(content);
    await t.rejects(renderPicture(input, output, LIMITS), { name: "PictureError", code, detail: /./ }, what);
    t.same(readdirSync(output), [], `${what}: nothing is written`);
  };
  await refused(svg(), "PICTURE_FORMAT_UNSUPPORTED", "SVG");
  await refused(pdf(), "PICTURE_FORMAT_UNSUPPORTED", "PDF");
  await refused(await picture({ format: "tiff" }), "PICTURE_FORMAT_UNSUPPORTED", "TIFF");
  for (const [what, start] of [
    ["JPEG XL", "\xff\x0a\xfa\x1f"],
    ["JPEG XL in a container", "\0\0\0\x0cJXL \r\n\x87\n"],
    ["raw vips", "\xb6\xa6\xf2\x08\x01\0\0\0\x01\0\0\0"],
    ["PPM", "P6 4 4 255\n"],
    ["FITS", "SIMPLE  =                    T"],
    ["Radiance", "#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 1 +X 1\n"],
    ["ImageMagick", "id=ImageMagick  version=1.0\nclass=DirectClass columns=1 rows=1\n\f\n:\x1a"],
    ["BMP", "BM"],
    ["nothing", ""],
  ] as const) {
    const content = start && Buffer.concat([Buffer.from(start, "latin1"), Buffer.alloc(4096)]);
    await refused(Buffer.from(content), "PICTURE_FORMAT_UNSUPPORTED", what);
  }
  await refused(bomb(), "PICTURE_TOO_LARGE", "30000 x 30000");
  await refused(bomb(10_000, 5_001), "PICTURE_TOO_LARGE", "one row above 50 megapixels");
  const largest = await rendered(bomb(10_000, 5_000));
  t.match(largest, { width: 10_000, height: 5_000 }, "50 megapixels are taken");

  for (const format of ["jpeg", "png", "webp", "gif", "avif"] as const) {
    const whole = await picture({ format, width: 900, height: 700 });
    for (const share of [0.02, 0.5, 0.98]) {
      await refused(truncated(whole, share), "PICTURE_UNREADABLE", `${share} of a ${format}`);
    }
  }
  await refused(truncated(await picture({ progressive: true })), "PICTURE_UNREADABLE", "half a progressive JPEG");
  const whole = await picture({ width: 900, height: 700 });
  const healed = Buffer.concat([truncated(whole), Buffer.from([0xff, 0xd9])]);
  await refused(healed, "PICTURE_UNREADABLE", "half a JPEG with an end mark");

  const trailing = Buffer.concat([whole, Buffer.from("a camera's own trailer")]);
  t.match(await rendered(trailing), { width: 900 }, "bytes after the end do no harm");
  const { output } = await stage(whole);
  await t.rejects(renderPicture(join(dir, "absent"), output, LIMITS), { name: "Error" }, "no fault of the picture");
});

t.test("a failure is told when nothing is written any more", async (t) => {
  const { input, output } = await stage(await picture({ width: 1500, height: 1200 }));
  // The first to be ready to be written, of which nothing can be.
  await mkdir(join(output, "thumbnail.webp"));
  await t.rejects(renderPicture(input, output, LIMITS), { code: "EISDIR" });
  t.same(readdirSync(output).sort(), ["large.webp", "medium.webp", "small.webp", "thumbnail.webp"]);
});

t.test("the benchmark", async (t) => {
  const { decodeResize, design } = await measureRenditions(await picture({ width: 900, height: 700 }), { pairs: 1 });
  t.ok(decodeResize.own > 0 && decodeResize.reference > decodeResize.own);
  t.ok(decodeResize.ratio > 0 && decodeResize.ratio < 1);
  t.ok(design.own > 0 && design.reference > 0 && design.ratio > 0);
  for (const likeness of [design.ssim, design.fidelity.ratio, design.referenceSsim])
    t.ok(likeness > 0.5 && likeness <= 1.05);
  t.ok(design.ownBytes > 0 && design.referenceBytes > 0);
});
