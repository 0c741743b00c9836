import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import sharp from "sharp";
import t from "tap";
import { codedItems, grid, heif, irot } from "../../test/support/heif.ts";
import { bomb, pdf, picture, svg } from "../../test/support/pictures.ts";
import { isAnimatedPng, readDimensions, sniffPicture } from "./sniff.ts";

t.test("sniffing", async (t) => {
  for (const [format, contentType] of [
    ["jpeg", "image/jpeg"],
    ["png", "image/png"],
    ["webp", "image/webp"],
    ["gif", "image/gif"],
    ["avif", "image/avif"],
  ] as const) {
    for (const options of [{}, { alpha: format !== "jpeg" }, { gps: format !== "gif" }, { frames: 2 }]) {
      const frames = format === "gif" || format === "webp" ? options.frames : 1;
      const file = await picture({ format, width: 333, height: 222, ...options, frames: frames ?? 1 });
      t.same(sniffPicture(file), { format, contentType });
      t.same(readDimensions(file, format), { width: 333, height: 222 }, `${format} ${JSON.stringify(options)}`);
    }
  }
  const lossless = await sharp(await picture({ width: 333, height: 222 }))
    .webp({ lossless: true })
    .toBuffer();
  t.same(readDimensions(lossless, "webp"), { width: 333, height: 222 });
  t.same(readDimensions(bomb(), "png"), { width: 30_000, height: 30_000 });

  const fixture = (name: string) => readFileSync(join(import.meta.dirname, "../../test/fixtures/pictures", name));
  const tiles = codedItems(fixture("corners.heic"));
  const turned = grid({ width: 128, height: 120 }, { columns: 2, rows: 2 }, [0, 1, 2, 3], [irot(1)]);
  for (const [what, file, size] of [
    ["HEIC", fixture("scene.heic"), { width: 128, height: 96 }],
    ["a grid, before its rotation", heif([...tiles, turned], { primary: 4 }), { width: 128, height: 120 }],
    ["a picture that only says it is one", heif(tiles, { brands: ["mif1"] }), { width: 64, height: 64 }],
    ["a sequence, which says its size elsewhere", fixture("sequence.heic"), null],
  ] as const) {
    t.same(sniffPicture(file), { format: "heic", contentType: "image/heic" }, what);
    t.same(readDimensions(file, "heic"), size, what);
  }
  t.match(sniffPicture(heif(codedItems(fixture("scene-10-bit.avif")), { brands: ["mif1"] })), { format: "avif" });

  for (const [words, content] of [
    ["SVG drawing", svg()],
    ["SVG drawing", "\uFEFF\n<svg width='1'/>"],
    ["TIFF picture", await picture({ format: "tiff" })],
    ["PDF document", pdf()],
    ["HEIF picture of AVC", heif([{ type: "avc1", data: Buffer.alloc(8) }], { brands: ["mif1"] })],
    ["HEIF picture of JPEG", heif([{ type: "jpeg", data: Buffer.alloc(8) }], { brands: ["mif1"] })],
    ["HEIF picture of an unknown codec", heif([{ type: "abcd", data: Buffer.alloc(8) }], { brands: ["mif1"] })],
    ["HEIF picture of AVC", "\0\0\0\x18ftypavci\0\0\0\0miafavci"],
    ["MP4 video", "\0\0\0\x18ftypisom\0\0\0\0mp41isom"],
    ["QuickTime video", "\0\0\0\x14ftypqt  \0\0\0\0qt  "],
    ["ZIP archive", "PK\x03\x04"],
    ["HTML page", "<!DOCTYPE html><html>"],
    ["JPEG XL picture", "\xff\x0a"],
    ["empty file", ""],
    ["unknown file", "hello"],
    ["unknown file", "RIFF"],
  ] as const) {
    const head =
      typeof content === "string" ? Buffer.from(content, content[0] === "\uFEFF" ? "utf8" : "latin1") : content;
    t.same(sniffPicture(head), { unsupported: words });
  }

  const made = ["jpeg", "png", "webp", "gif", "avif"] as const;
  const formats = [...made, "heic"] as const;
  const heads = await Promise.all(
    made.map(async (format) => (await picture({ format, gps: format !== "gif" })).subarray(0, 4096)),
  );
  heads.push(fixture("scene.heic"), heif([...tiles, turned], { primary: 4 }).subarray(0, 4096));
  const survives = (head: Buffer) => {
    sniffPicture(head);
    isAnimatedPng(head);
    for (const format of formats) {
      const found = readDimensions(head, format);
      if (found && !(found.width > 0 && found.height > 0)) return false;
    }
    return true;
  };
  const bytes = fc.uint8Array({ maxLength: 600 }).map((array) => Buffer.from(array));
  fc.assert(fc.property(bytes, survives), { numRuns: 1000 });
  const changes = fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 12 });
  const mutations = fc.record({ head: fc.constantFrom(...heads), length: fc.nat({ max: 4096 }), changes });
  fc.assert(
    fc.property(mutations, ({ head, length, changes }) => {
      const changed = Buffer.from(head.subarray(0, length));
      // Most of what is read lies at the start.
      for (const [at, value] of changes) if (changed.length > 0) changed[at % Math.min(changed.length, 700)] = value;
      return survives(changed);
    }),
    { numRuns: 2000 },
  );
  for (const fill of [0, 1, 0xff]) t.ok(survives(Buffer.alloc(1 << 20, fill)), `a megabyte of ${fill}`);
});
