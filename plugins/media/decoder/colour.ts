/**
 * What a HEIF file says of its colours in code points of ITU-T H.273, as an ICC profile, which is what the colour
 * conversion of sharp understands. And a PNG with a given profile, which is how sharp is handed one.
 */
import { crc32, deflateSync } from "node:zlib";

/** The chromaticities x and y of red, green and blue, by code point; the white of all is D65. */
const PRIMARIES: Readonly<Record<number, readonly number[]>> = {
  1: [0.64, 0.33, 0.3, 0.6, 0.15, 0.06],
  9: [0.708, 0.292, 0.17, 0.797, 0.131, 0.046],
  12: [0.68, 0.32, 0.265, 0.69, 0.15, 0.06],
};
const SRGB_PRIMARIES = 1;
const D65 = [0.3127, 0.329] as const;
const D50_XYZ = [0.9642, 1, 0.8249] as const;

const PQ = 16;
const HLG = 18;
/** From a stored value to light, both from 0 to 1, by code point. Others are taken for sRGB, which all of them nearly are. */
const CURVES: Readonly<Record<number, (stored: number) => number>> = {
  4: (stored) => stored ** 2.2,
  8: (stored) => stored,
  [PQ]: (stored) => toned(pqNits(stored)),
  [HLG]: (stored) => toned(hlgNits(stored)),
};

/** Where a picture is brighter than paper white: it is stored in more than 8 bits, and they are needed. */
export function isHdr({ transfer }: { transfer: number }): boolean {
  return transfer === PQ || transfer === HLG;
}

/** The ICC profile (version 2, matrix and curve) of these code points; null where they are sRGB's, or not known. */
export function profileOf({ primaries, transfer }: { primaries: number; transfer: number }): Buffer | null {
  const known = PRIMARIES[primaries];
  const curve = CURVES[transfer];
  if (!curve && (!known || primaries === SRGB_PRIMARIES)) return null;
  return iccProfile(known ?? PRIMARIES[SRGB_PRIMARIES] ?? [], curve ?? srgbLight);
}

function srgbLight(stored: number): number {
  return stored <= 0.04045 ? stored / 12.92 : ((stored + 0.055) / 1.055) ** 2.4;
}

/** SMPTE ST 2084, in candela per square metre. */
function pqNits(stored: number): number {
  const root = stored ** (1 / 78.84375);
  return 10_000 * (Math.max(0, root - 0.8359375) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125);
}

/** ITU-R BT.2100 on a display of 1,000 nits, its system gamma taken of each channel rather than of the luminance. */
function hlgNits(stored: number): number {
  const scene = stored <= 0.5 ? stored ** 2 / 3 : (Math.exp((stored - 0.55991073) / 0.17883277) + 0.28466892) / 12;
  return 1000 * scene ** 1.2;
}

/** Paper white is 203 nits (ITU-R BT.2408). Up to the knee light stays as it is, above it is compressed. */
const PAPER_NITS = 203;
const PEAK_NITS = 1000;
const KNEE = 0.6;

/** Light for a screen that has no more than paper white. */
function toned(nits: number): number {
  const light = nits / PAPER_NITS;
  if (light <= KNEE) return light;
  const above = (light - KNEE) / (1 - KNEE);
  const most = (PEAK_NITS / PAPER_NITS - KNEE) / (1 - KNEE);
  return Math.min(1, KNEE + ((1 - KNEE) * above * (1 + above / most ** 2)) / (1 + above));
}

const CURVE_POINTS = 4096;

function iccProfile(primaries: readonly number[], light: (stored: number) => number): Buffer {
  const curve = Buffer.alloc(12 + 2 * CURVE_POINTS);
  curve.write("curv", "latin1");
  curve.writeUInt32BE(CURVE_POINTS, 8);
  for (let i = 0; i < CURVE_POINTS; i++) {
    curve.writeUInt16BE(Math.round(65_535 * light(i / (CURVE_POINTS - 1))), 12 + 2 * i);
  }
  const [red, green, blue] = colorants(primaries);
  const tags: [name: string, content: Buffer][] = [
    ["desc", description("RGB of ITU-T H.273")],
    ["cprt", Buffer.from("text\0\0\0\0none\0\0\0\0", "latin1")],
    ["wtpt", xyz(D50_XYZ)],
    ["rXYZ", xyz(red)],
    ["gXYZ", xyz(green)],
    ["bXYZ", xyz(blue)],
    ["rTRC", curve],
    ["gTRC", curve],
    ["bTRC", curve],
  ];
  const table = Buffer.alloc(4 + 12 * tags.length);
  table.writeUInt32BE(tags.length);
  const contents: Buffer[] = [];
  const offsets = new Map<Buffer, number>();
  let end = 128 + table.length;
  for (const [i, [name, content]] of tags.entries()) {
    const offset = offsets.get(content) ?? end;
    if (offset === end) {
      offsets.set(content, offset);
      contents.push(content);
      end += content.length;
    }
    table.write(name, 4 + 12 * i, "latin1");
    table.writeUInt32BE(offset, 8 + 12 * i);
    table.writeUInt32BE(content.length, 12 + 12 * i);
  }
  const header = Buffer.alloc(128);
  header.writeUInt32BE(end, 0);
  header.writeUInt32BE(0x02400000, 8);
  header.write("mntrRGB XYZ ", 12, "latin1");
  header.write("acsp", 36, "latin1");
  xyz(D50_XYZ).copy(header, 68, 8);
  return Buffer.concat([header, table, ...contents]);
}

/** Red, green and blue at full light as XYZ, adapted to D50 (Bradford), as ICC has it. */
function colorants(primaries: readonly number[]): [number[], number[], number[]] {
  const [rx = 0, ry = 1, gx = 0, gy = 1, bx = 0, by = 1] = primaries;
  const columns = [toXyz(rx, ry), toXyz(gx, gy), toXyz(bx, by)];
  const white = toXyz(...D65);
  const shares = solve(columns, white);
  const [red = [], green = [], blue = []] = columns.map((column, i) =>
    adapted(column.map((v) => v * (shares[i] ?? 0))),
  );
  return [red, green, blue];
}

function toXyz(x: number, y: number): number[] {
  return [x / y, 1, (1 - x - y) / y];
}

const BRADFORD = [
  [0.8951, -0.7502, 0.0389],
  [0.2664, 1.7135, -0.0685],
  [-0.1614, 0.0367, 1.0296],
];

function adapted(color: readonly number[]): number[] {
  const [from, to] = [times(BRADFORD, toXyz(...D65)), times(BRADFORD, D50_XYZ)];
  const cones = times(BRADFORD, color).map((value, i) => (value * (to[i] ?? 0)) / (from[i] ?? 1));
  return solve(BRADFORD, cones);
}

/** A matrix, by columns, times a vector. */
function times(columns: readonly (readonly number[])[], vector: readonly number[]): number[] {
  return [0, 1, 2].map((row) => columns.reduce((sum, column, i) => sum + (column[row] ?? 0) * (vector[i] ?? 0), 0));
}

/** The vector that the matrix, by columns, takes to `target`, by Cramer's rule. */
function solve(columns: readonly (readonly number[])[], target: readonly number[]): number[] {
  const whole = determinant(columns);
  return [0, 1, 2].map((i) => determinant(columns.map((column, j) => (i === j ? target : column))) / whole);
}

function determinant([a = [], b = [], c = []]: readonly (readonly number[])[]): number {
  const [a0 = 0, a1 = 0, a2 = 0] = a;
  const [b0 = 0, b1 = 0, b2 = 0] = b;
  const [c0 = 0, c1 = 0, c2 = 0] = c;
  return a0 * (b1 * c2 - b2 * c1) - b0 * (a1 * c2 - a2 * c1) + c0 * (a1 * b2 - a2 * b1);
}

function xyz(values: readonly number[]): Buffer {
  const tag = Buffer.alloc(20);
  tag.write("XYZ ", "latin1");
  for (const [i, value] of values.entries()) tag.writeInt32BE(Math.round(value * 65_536), 8 + 4 * i);
  return tag;
}

/** The form that version 2 asks for: the same name again, empty, in two other scripts. */
function description(text: string): Buffer {
  const tag = Buffer.alloc(12 + text.length + 1 + 78 + ((4 - ((text.length + 91) % 4)) % 4));
  tag.write("desc", "latin1");
  tag.writeUInt32BE(text.length + 1, 8);
  tag.write(text, 12, "latin1");
  return tag;
}

/** The same PNG with this profile. @param png one that has none */
export function withProfile(png: Buffer, profile: Uint8Array): Buffer {
  const body = Buffer.concat([Buffer.from("iCCPprofile\0\0", "latin1"), deflateSync(profile)]);
  const chunk = Buffer.alloc(body.length + 8);
  chunk.writeUInt32BE(body.length - 4, 0);
  body.copy(chunk, 4);
  chunk.writeUInt32BE(crc32(body), body.length + 4);
  // Behind the signature and the header, which always have these lengths.
  return Buffer.concat([png.subarray(0, 33), chunk, png.subarray(33)]);
}
