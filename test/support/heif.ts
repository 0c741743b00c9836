/**
 * Takes HEIF files apart and puts new ones together, so that tests have every kind of container without an encoder:
 * the coded pictures come from files of test/fixtures/pictures, or from sharp's AVIF.
 */

export type HeifItem = {
  /** "hvc1", "av01", "grid", "Exif" … */
  type: string;
  data: Buffer;
  /** Whole boxes (hvcC, ispe, colr, irot …) in the order in which they apply. */
  properties?: Buffer[];
  /** Places of other items in the list. */
  refersTo?: { as: string; items: number[] };
};

export type HeifOptions = { brands?: string[]; primary?: number };

/** A file of these items; the first is shown, unless `primary` names another by its place. */
export function heif(items: readonly HeifItem[], { brands = ["heic", "mif1"], primary = 0 }: HeifOptions = {}): Buffer {
  const [major = "heic"] = brands;
  const ftyp = box("ftyp", text(major), u32(0), ...brands.map(text));
  const properties = items.map((item) => item.properties ?? []);
  const container = box("ipco", ...properties.flat());
  let index = 0;
  const associations = properties.map((own, i) =>
    Buffer.concat([u16(i + 1), Buffer.from([own.length, ...own.map(() => 0x80 | ++index)])]),
  );
  const references = items.flatMap(({ refersTo }, i) =>
    refersTo
      ? [box(refersTo.as, u16(i + 1), u16(refersTo.items.length), ...refersTo.items.map((item) => u16(item + 1)))]
      : [],
  );
  const meta = (offset: number) => {
    let at = offset;
    const places = items.map(({ data }, i) => {
      const place = Buffer.concat([u16(i + 1), u16(0), u16(1), u32(at), u32(data.length)]);
      at += data.length;
      return place;
    });
    return fullBox(
      "meta",
      0,
      fullBox("hdlr", 0, u32(0), text("pict"), Buffer.alloc(13)),
      fullBox("pitm", 0, u16(primary + 1)),
      fullBox("iloc", 0, Buffer.from([0x44, 0]), u16(items.length), ...places),
      fullBox(
        "iinf",
        0,
        u16(items.length),
        ...items.map(({ type }, i) => fullBox("infe", 2, u16(i + 1), u16(0), text(type), Buffer.alloc(1))),
      ),
      ...(references.length > 0 ? [fullBox("iref", 0, ...references)] : []),
      box("iprp", container, fullBox("ipma", 0, u32(items.length), ...associations)),
    );
  };
  const start = ftyp.length + meta(0).length + 8;
  return Buffer.concat([ftyp, meta(start), box("mdat", ...items.map(({ data }) => data))]);
}

/** The coded pictures of a file, with their properties; what is not coded (Exif, grids) is left out. */
export function codedItems(file: Buffer): HeifItem[] {
  const meta = inside(file, "meta", 4);
  const properties = boxesOf(inside(inside(meta, "iprp"), "ipco"));
  const places = placesOf(inside(meta, "iloc"));
  const associations = inside(inside(meta, "iprp"), "ipma");
  const items: HeifItem[] = [];
  let at = 8;
  for (let left = associations.readUInt32BE(4); left > 0; left--) {
    const id = associations.readUInt16BE(at);
    const count = associations[at + 2] ?? 0;
    const indexes = [...associations.subarray(at + 3, at + 3 + count)].map((value) => value & 0x7f);
    at += 3 + count;
    const own = indexes.flatMap((i) => properties[i - 1] ?? []);
    const type = own.some((property) => isType(property, "hvcC")) ? "hvc1" : "av01";
    const place = places.get(id);
    if (place) items.push({ type, data: file.subarray(place.start, place.end), properties: own });
  }
  return items;
}

/** The item with properties of some types taken away and others added. */
export function withProperties(item: HeifItem, added: readonly Buffer[], without: readonly string[] = []): HeifItem {
  const kept = (item.properties ?? []).filter((property) => !without.some((type) => isType(property, type)));
  return { ...item, properties: [...kept, ...added] };
}

/** A picture of `columns` × `rows` tiles, which are the items at `tiles`. */
export function grid(
  size: { width: number; height: number },
  shape: { columns: number; rows: number },
  tiles: number[],
  properties: readonly Buffer[] = [],
): HeifItem {
  const data = Buffer.concat([
    Buffer.from([0, 0, shape.rows - 1, shape.columns - 1]),
    u16(size.width),
    u16(size.height),
  ]);
  return {
    type: "grid",
    data,
    properties: [ispe(size.width, size.height), ...properties],
    refersTo: { as: "dimg", items: tiles },
  };
}

export const ispe = (width: number, height: number) => fullBox("ispe", 0, u32(width), u32(height));
/** Turns a quarter so many times, against the clock. */
export const irot = (quarters: number) => box("irot", Buffer.from([quarters]));
/** 0 mirrors top and bottom, 1 left and right. */
export const imir = (axis: number) => box("imir", Buffer.from([axis]));
export const iccColour = (profile: Buffer) => box("colr", text("prof"), profile);
/** Code points of ITU-T H.273; the matrix is BT.601's, of the full range. */
export const nclx = (primaries: number, transfer: number) =>
  box("colr", text("nclx"), u16(primaries), u16(transfer), u16(6), Buffer.from([0x80]));

export function box(type: string, ...contents: Buffer[]): Buffer {
  const body = Buffer.concat(contents);
  return Buffer.concat([u32(body.length + 8), text(type), body]);
}

export function fullBox(type: string, version: number, ...contents: Buffer[]): Buffer {
  return box(type, Buffer.from([version, 0, 0, 0]), ...contents);
}

function placesOf(iloc: Buffer): Map<number, { start: number; end: number }> {
  const places = new Map<number, { start: number; end: number }>();
  const version = iloc[0] ?? 0;
  const base = (iloc[5] ?? 0) >> 4;
  if (iloc[4] !== 0x44 || version > 1) throw new RangeError(`iloc of version ${version} and sizes ${iloc[4]}`);
  let at = 8;
  for (let left = iloc.readUInt16BE(6); left > 0; left--) {
    const id = iloc.readUInt16BE(at);
    at += version === 1 ? 6 : 4;
    const from = base > 0 ? iloc.readUIntBE(at, base) : 0;
    at += base + 2;
    const start = from + iloc.readUInt32BE(at);
    places.set(id, { start, end: start + iloc.readUInt32BE(at + 4) });
    at += 8;
  }
  return places;
}

function isType(property: Buffer, type: string): boolean {
  return property.toString("latin1", 4, 8) === type;
}

/** What a box of this type holds, among those that lie side by side in `within`. */
function inside(within: Buffer, type: string, skip = 0): Buffer {
  const found = boxesOf(within).find((candidate) => isType(candidate, type));
  if (!found) throw new RangeError(`no ${type}`);
  return found.subarray(8 + skip);
}

function boxesOf(within: Buffer): Buffer[] {
  const found: Buffer[] = [];
  for (let at = 0; at + 8 <= within.length; ) {
    const size = within.readUInt32BE(at) || within.length - at;
    found.push(within.subarray(at, at + size));
    at += size;
  }
  return found;
}

function text(value: string): Buffer {
  return Buffer.from(value, "latin1");
}

function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
