/** What phones put around a picture: segments of JPEG, chunks of PNG, a film behind it. */
import { crc32, deflateSync } from "node:zlib";

export type Segment = { marker: number; content: Buffer };

/** The JPEG with these segments at its start. */
export function withSegments(jpeg: Buffer, segments: readonly Segment[]): Buffer {
  const framed = segments.map(({ marker, content }) => {
    const head = Buffer.from([0xff, marker, 0, 0]);
    head.writeUInt16BE(content.length + 2, 2);
    return Buffer.concat([head, content]);
  });
  return Buffer.concat([jpeg.subarray(0, 2), ...framed, jpeg.subarray(2)]);
}

export function exifSegment(tiff: Buffer): Segment {
  return { marker: 0xe1, content: Buffer.concat([text("Exif\0\0"), tiff]) };
}

export function xmpSegment(inside: string): Segment {
  const packet = `<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">${inside}</rdf:RDF></x:xmpmeta>`;
  return { marker: 0xe1, content: text(`http://ns.adobe.com/xap/1.0/\0${packet}`) };
}

export function iccSegment(profile: Buffer): Segment {
  return { marker: 0xe2, content: Buffer.concat([text("ICC_PROFILE\0\x01\x01"), profile]) };
}

/** EXIF that holds an orientation alone, whatever number that is. */
export function tiffWithOrientation(orientation: number): Buffer {
  const tiff = Buffer.alloc(26);
  tiff.write("MM\0*", "latin1");
  tiff.writeUInt32BE(8, 4);
  tiff.writeUInt16BE(1, 8);
  tiff.writeUInt16BE(0x0112, 10);
  tiff.writeUInt16BE(3, 12);
  tiff.writeUInt32BE(1, 14);
  tiff.writeUInt16BE(orientation, 18);
  return tiff;
}

/**
 * Several JPEGs in one file, as cameras store stereo pictures (MPO) and phones the map of how much brighter a picture
 * may be shown: the first has an index of all (CIPA DC-007), the others follow it.
 */
export function multiPicture(first: Buffer, others: readonly Buffer[], segments: readonly Segment[] = []): Buffer {
  const all = [first, ...others];
  const index = Buffer.alloc(50 + 16 * all.length);
  index.write("MM\0*", "latin1");
  index.writeUInt32BE(8, 4);
  index.writeUInt16BE(3, 8);
  const entry = (at: number, tag: number, type: number, count: number) => {
    index.writeUInt16BE(tag, at);
    index.writeUInt16BE(type, at + 2);
    index.writeUInt32BE(count, at + 4);
  };
  entry(10, 0xb000, 7, 4);
  index.write("0100", 18, "latin1");
  entry(22, 0xb001, 4, 1);
  index.writeUInt32BE(all.length, 30);
  entry(34, 0xb002, 7, 16 * all.length);
  index.writeUInt32BE(50, 42);
  const whole = () =>
    withSegments(first, [...segments, { marker: 0xe2, content: Buffer.concat([text("MPF\0"), index]) }]);
  const { length } = whole();
  // Offsets are counted from where the index begins.
  const start = whole().indexOf("MPF\0", 0, "latin1") + 4;
  let at = length;
  for (const [i, picture] of all.entries()) {
    index.writeUInt32BE(i === 0 ? 0x20030000 : 0, 50 + 16 * i);
    index.writeUInt32BE(i === 0 ? length : picture.length, 54 + 16 * i);
    index.writeUInt32BE(i === 0 ? 0 : at - start, 58 + 16 * i);
    if (i > 0) at += picture.length;
  }
  return Buffer.concat([whole(), ...others]);
}

/** A film of a second, as far as its boxes go: nobody may look at it. */
export function film(): Buffer {
  const ftyp = Buffer.from("\0\0\0\x18ftypmp42\0\0\0\0isommp42", "latin1");
  return Buffer.concat([
    ftyp,
    Buffer.from("\0\0\0\x10moov\0\0\0\x08mvhd\0\0\x04\x08mdat", "latin1"),
    Buffer.alloc(1024, 7),
  ]);
}

/** The PNG with more chunks behind its header. */
export function withChunks(png: Buffer, chunks: readonly { type: string; content: Buffer }[]): Buffer {
  return Buffer.concat([
    png.subarray(0, 33),
    ...chunks.map(({ type, content }) => pngChunk(type, content)),
    png.subarray(33),
  ]);
}

export function iccChunk(profile: Buffer): { type: string; content: Buffer } {
  return { type: "iCCP", content: Buffer.concat([text("test\0\0"), deflateSync(profile)]) };
}

export function pngChunk(type: string, content: Buffer): Buffer {
  const body = Buffer.concat([text(type), content]);
  const framed = Buffer.alloc(body.length + 8);
  framed.writeUInt32BE(content.length, 0);
  body.copy(framed, 4);
  framed.writeUInt32BE(crc32(body), body.length + 4);
  return framed;
}

/**
 * An ICC profile of version 2 for RGB. @param colorants red, green and blue as XYZ under D50, as their standards publish them
 * @param gamma of all three curves
 */
export function iccProfile(colorants: readonly (readonly number[])[], gamma: number): Buffer {
  const curve = Buffer.concat([text("curv\0\0\0\0\0\0\0\x01"), Buffer.alloc(4)]);
  curve.writeUInt16BE(Math.round(gamma * 256), 12);
  const desc = Buffer.alloc(12 + 5 + 78 + 1);
  desc.write("desc", "latin1");
  desc.writeUInt32BE(5, 8);
  desc.write("test", 12, "latin1");
  const tags: [string, Buffer][] = [
    ["desc", desc],
    ["cprt", text("text\0\0\0\0none\0\0\0\0")],
    ["wtpt", xyz([0.9642, 1, 0.8249])],
    ...["r", "g", "b"].map((name, i): [string, Buffer] => [`${name}XYZ`, xyz(colorants[i] ?? [])]),
    ...["r", "g", "b"].map((name): [string, Buffer] => [`${name}TRC`, curve]),
  ];
  const table = Buffer.alloc(4 + 12 * tags.length);
  table.writeUInt32BE(tags.length);
  let at = 128 + table.length;
  for (const [i, [name, content]] of tags.entries()) {
    table.write(name, 4 + 12 * i, "latin1");
    table.writeUInt32BE(at, 8 + 12 * i);
    table.writeUInt32BE(content.length, 12 + 12 * i);
    at += content.length;
  }
  const header = Buffer.alloc(128);
  header.writeUInt32BE(at, 0);
  header.writeUInt32BE(0x02400000, 8);
  header.write("mntrRGB XYZ ", 12, "latin1");
  header.write("acsp", 36, "latin1");
  xyz([0.9642, 1, 0.8249]).copy(header, 68, 8);
  return Buffer.concat([header, table, ...tags.map(([, content]) => content)]);
}

function xyz(values: readonly number[]): Buffer {
  const tag = Buffer.alloc(20);
  tag.write("XYZ ", "latin1");
  for (const [i, value] of values.entries()) tag.writeInt32BE(Math.round(value * 65_536), 8 + 4 * i);
  return tag;
}

function text(value: string): Buffer {
  return Buffer.from(value, "latin1");
}
