import { readFileSync } from "node:fs";
import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import sharp from "sharp";
import t, { type Test } from "tap";
import {
  exifSegment,
  film,
  iccChunk,
  iccProfile,
  iccSegment,
  multiPicture,
  tiffWithOrientation,
  withChunks,
  withSegments,
  xmpSegment,
} from "../../../test/support/containers.ts";
import {
  box,
  codedItems,
  fullBox,
  grid,
  type HeifItem,
  heif,
  iccColour,
  imir,
  irot,
  nclx,
  withProperties,
} from "../../../test/support/heif.ts";
import {
  CORNERS,
  colourAt,
  difference,
  isNear,
  picture,
  truncated,
  wrongCorners,
} from "../../../test/support/pictures.ts";
import type { Rendered } from "./protocol.ts";
import { renderPicture } from "./render.ts";

const FIXTURES = join(import.meta.dirname, "../../../test/fixtures/pictures");
const LIMITS = { maxPixels: 50e6 };
const dir = t.testdir();

const fixture = (name: string) => readFileSync(join(FIXTURES, name));

async function rendered(content: Buffer, limits = LIMITS): Promise<Rendered & { large: Buffer }> {
  const folder = await mkdtemp(join(dir, "picture-"));
  const input = join(folder, "original");
  await writeFile(input, content);
  const output = await mkdtemp(join(folder, "out-"));
  const result = await renderPicture(input, output, limits);
  return { ...result, large: await readFile(join(output, "large.webp")) };
}

async function refused(t: Test, content: Buffer, code: string, detail: RegExp, what: string, limits = LIMITS) {
  await t.rejects(rendered(content, limits), { name: "PictureError", code, detail }, what);
}

/** The picture of the four corners, of four tiles. */
const tiles = codedItems(fixture("corners.heic"));
const SQUARE = { width: 128, height: 128 };
const TWO_BY_TWO = { columns: 2, rows: 2 };
const tiled = (properties: Buffer[] = [], others: HeifItem[] = []) =>
  heif([...tiles, grid(SQUARE, TWO_BY_TWO, [0, 1, 2, 3], properties), ...others], { primary: 4 });
const still = (file: Buffer): HeifItem => {
  const [item] = codedItems(file);
  if (!item) throw new RangeError("no picture");
  return item;
};

t.test("HEIC", async (t) => {
  for (const [name, width, height] of [
    ["scene.heic", 128, 96],
    ["scene-10-bit.heic", 128, 96],
    ["alpha.heic", 128, 96],
    ["sequence.heic", 128, 96],
  ] as const) {
    const result = await rendered(fixture(name));
    t.match(result, { width, height, animated: name === "sequence.heic", thumbhash: /^[A-Za-z0-9+/]{20,}=*$/ }, name);
    t.same(
      result.renditions.map((rendition) => [rendition.name, rendition.width, rendition.height]),
      [
        ["thumbnail", 150, 150],
        ["small", 320, 320],
        ["medium", width, height],
        ["large", width, height],
      ],
    );
    t.same(await wrongCorners(result.large, 15), [], name);
    const middle = await colourAt(result.large, 0.5, 0.5);
    t.equal(middle[3], name === "alpha.heic" ? 0 : 255, `${name}: its middle`);
  }
  t.match(await rendered(fixture("pixel.heic")), { width: 1, height: 1 });
  const line = await rendered(fixture("line.heic"));
  t.match(line, { width: 1, height: 90 });
  t.ok(isNear(await colourAt(line.large, 0.5, 0.5), CORNERS.topLeft, 5));
});

t.test("grids, rotation and mirroring of HEIC, and no second rotation by its EXIF", async (t) => {
  const upright = await rendered(tiled());
  t.match(upright, SQUARE);
  t.same(await wrongCorners(upright.large, 5), [], "each tile in its place");
  const exif: HeifItem = {
    type: "Exif",
    data: Buffer.concat([Buffer.alloc(4), tiffWithOrientation(6)]),
    refersTo: { as: "cdsc", items: [4] },
  };
  const raw = sharp(await sharp(upright.large).png().toBuffer());
  for (const [what, properties, expected] of [
    ["a quarter against the clock", [irot(1)], raw.clone().rotate(270)],
    ["upside down", [irot(2)], raw.clone().rotate(180)],
    ["a quarter with the clock", [irot(3)], raw.clone().rotate(90)],
    ["top and bottom mirrored", [imir(0)], raw.clone().flip()],
    ["left and right mirrored", [imir(1)], raw.clone().flop()],
  ] as const) {
    const oracle = await expected.png().toBuffer();
    for (const others of [[], [exif]]) {
      const { large } = await rendered(tiled([...properties], others));
      const apart = await difference(large, oracle);
      t.ok(apart < 3, `${what}, ${others.length} EXIF: ${apart}`);
    }
  }
  const avif = still(await picture({ format: "avif", width: 128, height: 96, grain: 0, quality: 90 }));
  const turned = [withProperties(avif, [irot(3)]), { ...exif, refersTo: { as: "cdsc", items: [0] } }];
  t.match(await rendered(heif(turned, { brands: ["avif", "mif1"] })), { width: 96, height: 128 }, "of AVIF too");
});

/** From linear light of a space to that of sRGB, as CSS Color 4 has them. */
const TO_SRGB = {
  p3: [1.2249, -0.2247, 0, -0.042, 1.0419, 0, -0.0197, -0.0786, 1.0979],
  adobe: [1.3984, -0.3984, 0, 0, 1, 0, 0, -0.0429, 1.0429],
} as const;

const srgbToLight = (value: number) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
const lightToSrgb = (light: number) => (light <= 0.0031308 ? light * 12.92 : 1.055 * light ** (1 / 2.4) - 0.055);
const adobeToLight = (value: number) => value ** (563 / 256);

function inSrgb(stored: readonly number[], space: keyof typeof TO_SRGB): number[] {
  const light = stored.map((value) => (space === "p3" ? srgbToLight : adobeToLight)(value / 255));
  const matrix = TO_SRGB[space];
  return [0, 3, 6].map((row) => {
    const value = [0, 1, 2].reduce((sum, i) => sum + (matrix[row + i] ?? 0) * (light[i] ?? 0), 0);
    return Math.round(255 * lightToSrgb(Math.min(1, Math.max(0, value))));
  });
}

t.test("colours of wider spaces become the right ones of sRGB", async (t) => {
  const p3 = (await sharp(await picture({ profile: "p3" })).metadata()).icc;
  if (!p3) return t.fail("sharp has no profile of Display P3");
  const adobe = iccProfile(
    [
      [0.60974, 0.31111, 0.01947],
      [0.20528, 0.62567, 0.06087],
      [0.14919, 0.06322, 0.74457],
    ],
    563 / 256,
  );
  /** What a patch of CORNERS.topLeft is stored in, the numbers being of `profile`'s space. */
  const patch = (depth: "uchar" | "ushort") => {
    const values = Array.from({ length: 64 * 64 }, () => CORNERS.topLeft).flat();
    const data = depth === "uchar" ? Uint8Array.from(values) : Uint16Array.from(values, (value) => value * 257);
    const image = sharp(data, { raw: { width: 64, height: 64, channels: 3 } });
    return depth === "ushort" ? image.toColourspace("rgb16") : image;
  };
  const jpeg = await patch("uchar").jpeg({ quality: 98, chromaSubsampling: "4:4:4" }).toBuffer();
  const png = await patch("uchar").png().toBuffer();
  const deepPng = await patch("ushort").png().toBuffer();
  const avif = still(await patch("uchar").avif({ quality: 95, chromaSubsampling: "4:4:4" }).toBuffer());
  const coloured = (item: HeifItem | undefined, colour: Buffer) => withProperties(item ?? avif, [colour], ["colr"]);
  const AVIF = { brands: ["avif", "mif1"] };

  for (const [space, profile] of [
    ["p3", p3],
    ["adobe", adobe],
  ] as const) {
    const expected = inSrgb(CORNERS.topLeft, space);
    t.notOk(isNear(CORNERS.topLeft, expected, 8), "to leave the numbers as they are would show");
    const files: [what: string, file: Buffer][] = [
      ["JPEG", withSegments(jpeg, [iccSegment(profile)])],
      ["PNG", withChunks(png, [iccChunk(profile)])],
      ["PNG of 16 bits", withChunks(deepPng, [iccChunk(profile)])],
      ["AVIF", heif([coloured(avif, iccColour(profile))], AVIF)],
      ["HEIC", heif([coloured(tiles[0], iccColour(profile))])],
    ];
    if (space === "p3") {
      files.push(
        ["AVIF by code points", heif([coloured(avif, nclx(12, 13))], AVIF)],
        ["HEIC by code points", heif([coloured(tiles[0], nclx(12, 13))])],
        ["HEIC with both", heif([withProperties(tiles[0] ?? avif, [nclx(1, 13), iccColour(profile)], ["colr"])])],
      );
    }
    for (const [what, file] of files) {
      const colour = await colourAt((await rendered(file)).large, 0.5, 0.5);
      t.ok(isNear(colour, expected, 4), `${space}, ${what}: ${colour.slice(0, 3)}, expected ${expected}`);
    }
  }
  // Where the grid says nothing, its tiles do.
  const items = tiles.map((tile) => coloured(tile, nclx(12, 13)));
  const { large } = await rendered(heif([...items, grid(SQUARE, TWO_BY_TWO, [0, 1, 2, 3])], { primary: 4 }));
  t.ok(isNear(await colourAt(large, 0.2, 0.2), inSrgb(CORNERS.topLeft, "p3"), 4));
  // A profile that is none is no reason to refuse the picture.
  const nonsense = await rendered(heif([coloured(tiles[0], iccColour(Buffer.alloc(200, 1)))]));
  t.ok(isNear(await colourAt(nonsense.large, 0.5, 0.5), CORNERS.topLeft, 4));
});

t.test("HDR: paper white is nearly white, brighter is white, black is black", async (t) => {
  // Signals of 0, 18 and 203 candela a square metre, and of 1,000 or more (ITU-R BT.2408).
  for (const [what, transfer, signals] of [
    ["PQ", 16, [0, 0.37, 0.58, 0.76]],
    ["HLG", 18, [0, 0.34, 0.75, 1]],
  ] as const) {
    const shades: number[] = [];
    for (const signal of signals) {
      const grey = { r: signal * 255, g: signal * 255, b: signal * 255 };
      const image = sharp({ create: { width: 64, height: 64, channels: 3, background: grey } });
      const item = still(await image.avif({ quality: 95 }).toBuffer());
      const file = heif([withProperties(item, [nclx(9, transfer)], ["colr"])], { brands: ["avif", "mif1"] });
      const [red, green, blue] = await colourAt((await rendered(file)).large, 0.5, 0.5);
      t.ok(isNear([red, blue], [green, green], 2), `${what} ${signal}: grey stays grey`);
      shades.push(green);
    }
    const [black = 255, dark = 0, paper = 0, bright = 0] = shades;
    t.ok(
      black <= 2 && dark >= 60 && dark <= 110 && paper >= 220 && paper <= 240 && bright >= 252,
      `${what}: ${shades}`,
    );

    const avif = withProperties(still(fixture("scene-10-bit.avif")), [nclx(9, transfer)], ["colr"]);
    const heic = withProperties(still(fixture("scene-10-bit.heic")), [nclx(9, transfer)], ["colr"]);
    const [one, other] = await Promise.all([
      rendered(heif([avif], { brands: ["avif", "mif1"] })),
      rendered(heif([heic])),
    ]);
    const apart = await difference(one.large, other.large);
    t.ok(apart < 6, `${what}: two decoders agree within ${apart}`);
    const plain = await difference(one.large, (await rendered(fixture("scene-10-bit.avif"))).large);
    t.ok(plain > 12, "and it is not shown as if it were sRGB");
  }
});

t.test("more than a picture in one file: the picture is shown", async (t) => {
  const jpeg = await picture({ width: 128, height: 96, grain: 0 });
  const other = await sharp(jpeg).negate().jpeg().toBuffer();
  const gainMap = await sharp(jpeg).greyscale().resize(32, 24).jpeg().toBuffer();
  const hdrgm = 'xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"';
  const directory = `<Container:Directory xmlns:Container="http://ns.google.com/photos/1.0/container/" xmlns:Item="http://ns.google.com/photos/1.0/container/item/"><rdf:Seq><rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="Primary" Item:Mime="image/jpeg"/></rdf:li><rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="GainMap" Item:Mime="image/jpeg" Item:Length="${gainMap.length}"/></rdf:li></rdf:Seq></Container:Directory>`;
  const map = withSegments(gainMap, [
    xmpSegment(`<rdf:Description ${hdrgm} hdrgm:GainMapMax="2" hdrgm:HDRCapacityMax="2"/>`),
  ]);
  const motion = xmpSegment(
    '<rdf:Description xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" GCamera:MotionPhoto="1" GCamera:MotionPhotoVersion="1"/>',
  );
  const samsung = Buffer.concat([film(), Buffer.from("MotionPhoto_Data\0\0SEFH\0\0\0\0SEFT", "latin1")]);
  const scene = still(fixture("scene.heic"));
  const small = { ...still(fixture("corners.heic")), refersTo: { as: "auxl", items: [0] } };
  const auxC = (urn: string) => fullBox("auxC", 0, Buffer.from(`${urn}\0`));
  const files: [what: string, file: Buffer][] = [
    ["MPO", multiPicture(jpeg, [other])],
    [
      "a JPEG with a gain map",
      multiPicture(jpeg, [map], [xmpSegment(`<rdf:Description ${hdrgm}>${directory}</rdf:Description>`)]),
    ],
    ["Google's motion photo", Buffer.concat([withSegments(jpeg, [motion]), film()])],
    ["Samsung's motion photo", Buffer.concat([jpeg, samsung])],
    ["a motion photo of HEIC", Buffer.concat([fixture("scene.heic"), box("mpvd", film())])],
    ["a HEIC with a film behind it", Buffer.concat([fixture("scene.heic"), samsung])],
    ["a HEIC with a film that can be played", Buffer.concat([fixture("scene.heic"), fixture("sequence.heic")])],
    ["a HEIC with a trailer", Buffer.concat([fixture("scene.heic"), Buffer.from("MotionPhoto_Data\xff\0\x01\x02")])],
    ["Apple's gain map", heif([scene, withProperties(small, [auxC("urn:com:apple:photo:2020:aux:hdrgainmap")])])],
    ["a HEIC with a thumbnail", heif([scene, { ...small, refersTo: { as: "thmb", items: [0] } }])],
    ["an arithmetic JPEG", fixture("arithmetic.jpg")],
    ["a progressive JPEG", await picture({ width: 128, height: 96, grain: 0, progressive: true })],
  ];
  for (const [what, file] of files) {
    const result = await rendered(file);
    t.match(result, { width: 128, height: 96, animated: false }, what);
    t.same(await wrongCorners(result.large, 20), [], what);
  }
  const png = await picture({ format: "png", width: 128, height: 96, grain: 0 });
  const frames = (count: number) =>
    withChunks(png, [{ type: "acTL", content: Buffer.from([0, 0, 0, count, 0, 0, 0, 0]) }]);
  t.match(await rendered(frames(3)), { animated: true }, "APNG");
  t.match(await rendered(frames(1)), { animated: false }, "an APNG of one frame");
});

t.test("nonsense in EXIF changes nothing", async (t) => {
  const jpeg = await picture({ width: 128, height: 96, grain: 0 });
  const whole = tiffWithOrientation(6);
  const farIfd = Buffer.from(whole);
  farIfd.writeUInt32BE(0xfffffff0, 4);
  const circle = Buffer.from(tiffWithOrientation(1));
  circle.writeUInt32BE(8, 22);
  const many = Buffer.from(tiffWithOrientation(1));
  many.writeUInt16BE(0xffff, 8);
  const files: [what: string, tiff: Buffer][] = [
    ...[0, 9, 255, 65_535].map((orientation): [string, Buffer] => [
      `orientation ${orientation}`,
      tiffWithOrientation(orientation),
    ]),
    ["a directory outside of it", farIfd],
    ["a directory that follows itself", circle],
    ["65,535 entries", many],
    ["cut short", whole.subarray(0, 12)],
    ["nothing", Buffer.alloc(0)],
  ];
  for (const [what, tiff] of files) {
    const result = await rendered(withSegments(jpeg, [exifSegment(tiff)]));
    t.match(result, { width: 128, height: 96 }, what);
    t.same(await wrongCorners(result.large, 20), [], what);
  }
});

t.test("thin pictures and panoramas", async (t) => {
  for (const format of ["jpeg", "png", "webp", "gif", "avif"] as const) {
    for (const [width, height] of [
      [1, 1],
      [1, 300],
      [300, 1],
    ] as const) {
      t.match(
        await rendered(await picture({ format, width, height })),
        { width, height },
        `${format} ${width}x${height}`,
      );
    }
  }
  const panorama = await rendered(await picture({ width: 16_000, height: 500 }));
  t.match(panorama, { width: 16_000, height: 500 });
  t.same(await wrongCorners(panorama.large), []);
});

t.test("what is refused says what it is", async (t) => {
  const heic = fixture("scene.heic");
  for (const share of [0.1, 0.5, 0.98]) {
    await refused(t, truncated(heic, share), "PICTURE_UNREADABLE", /libheif/, `${share} of a HEIC`);
  }
  const huge = heif([...tiles, grid({ width: 10_000, height: 5_001 }, TWO_BY_TWO, [0, 1, 2, 3])], { primary: 4 });
  await refused(t, huge, "PICTURE_TOO_LARGE", /10000 x 5001/, "a HEIC above 50 megapixels");
  const small = { maxPixels: 1000 };
  await refused(t, fixture("sequence.heic"), "PICTURE_TOO_LARGE", /128 x 96/, "a sequence above the limit", small);
  const lied = heif([
    withProperties(still(heic), [fullBox("ispe", 0, Buffer.from([0, 0, 0, 8, 0, 0, 0, 8]))], ["ispe"]),
  ]);
  await refused(t, lied, "PICTURE_TOO_LARGE", /libheif|pixels/, "a HEIC that says it is smaller", small);
  const avc = heif([{ type: "avc1", data: Buffer.alloc(16) }], { brands: ["mif1", "avci"] });
  await refused(t, avc, "PICTURE_FORMAT_UNSUPPORTED", /AVC/, "HEIF of another codec");
  const disguised = heif([{ type: "jpeg", data: Buffer.alloc(16) }]);
  await refused(t, disguised, "PICTURE_FORMAT_UNSUPPORTED", /JPEG/, "and where it is called HEIC");
});
