/**
 * Decodes HEIC with libheif, compiled to WebAssembly: sharp comes without HEVC. It speaks the C interface, because the
 * package's own one decodes to RGBA only, copies the pixels twice and gives no errors. A child loads it with its first HEIC.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { PictureError } from "./protocol.ts";

export type HeicPixels = {
  /** Rows of interleaved channels without gaps; a view of the decoder's memory, which stays as long as it is held. */
  data: Uint8Array | Uint16Array;
  /** As it is to be seen: rotation, mirroring and crop are applied. */
  width: number;
  height: number;
  channels: 3 | 4;
  /** There are further frames; this is the first, or the still picture that stands for them. */
  animated: boolean;
};

/** `deep` keeps the bits beyond eight, where there are any. */
export type HeicLimits = { maxPixels: number; deep: boolean };

/** What is used of the C interface: pointers are numbers, and who answers with an error writes it to the first argument. */
type Library = {
  readonly HEAPU8: Uint8Array<ArrayBuffer>;
  _malloc(bytes: number): number;
  _heif_context_alloc(): number;
  _heif_context_get_security_limits(context: number): number;
  _heif_context_read_from_memory_without_copy(
    error: number,
    context: number,
    file: number,
    bytes: number,
    none: number,
  ): void;
  _heif_context_get_primary_image_handle(error: number, context: number, handle: number): void;
  _heif_context_free(context: number): void;
  _heif_image_handle_get_width(handle: number): number;
  _heif_image_handle_get_height(handle: number): number;
  _heif_image_handle_has_alpha_channel(handle: number): number;
  _heif_image_handle_get_luma_bits_per_pixel(handle: number): number;
  _heif_image_handle_release(handle: number): void;
  _heif_decode_image(error: number, handle: number, image: number, space: number, chroma: number, none: number): void;
  _heif_context_has_sequence(context: number): number;
  _heif_context_get_track(context: number, id: number): number;
  _heif_track_get_image_resolution(error: number, track: number, width: number, height: number): void;
  _heif_track_decode_next_image(
    error: number,
    track: number,
    image: number,
    space: number,
    chroma: number,
    none: number,
  ): void;
  _heif_track_release(track: number): void;
  _heif_image_get_decoding_warnings(image: number, first: number, errors: number, count: number): number;
  _heif_image_get_width(image: number, channel: number): number;
  _heif_image_get_height(image: number, channel: number): number;
  _heif_image_get_bits_per_pixel_range(image: number, channel: number): number;
  _heif_image_get_plane_readonly(image: number, channel: number, stride: number): number;
};

/** Of libheif's enumerations. */
const RGB = 1;
const CHROMA = { 3: { 8: 10, 16: 14 }, 4: { 8: 11, 16: 15 } } as const;
const INTERLEAVED = 10;
/** The first that has pictures, whatever its id. */
const FIRST_TRACK = 0;
const UNSUPPORTED = [3, 4];
const OUT_OF_LIMITS = 6;

/**
 * What libheif may take in all for each pixel that is allowed, in bytes. Of 10 bits, 4:2:0, it needs 9, and 15 where all
 * bits are kept; a rotation copies the picture once more.
 */
const BYTES_PER_PIXEL = 20;
const LEAST_MEMORY = 64 << 20;
/** Coded pictures, and grids of tiles, are padded beyond what is seen of them. */
const PADDING = 1.25;

const require = createRequire(import.meta.url);
let wasmBinary: Buffer | undefined;

setFlagsFromString("--expose-gc");
const collectGarbage: () => void = runInNewContext("gc");

/**
 * Gives the memory of pictures back that are no longer held. V8 does not see that a dead instance holds 300 MB, and
 * would let several pile up.
 */
export function reclaimHeic(): void {
  collectGarbage();
}

/**
 * An instance for one picture: nothing is left in its memory for the next one, which could only grow, and what a broken
 * file did to it ends with it.
 */
function instantiate(): Library {
  const create: (options: { wasmBinary: Buffer }) => Library = require("libheif-js/libheif-wasm/libheif.js");
  wasmBinary ??= readFileSync(require.resolve("libheif-js/libheif-wasm/libheif.wasm"));
  return create({ wasmBinary });
}

/**
 * The primary picture of a HEIC file, or the first of a sequence that has none.
 *
 * Throws PictureError (PICTURE_UNREADABLE, PICTURE_TOO_LARGE, PICTURE_FORMAT_UNSUPPORTED).
 */
export function decodeHeic(file: Buffer, limits: HeicLimits): HeicPixels {
  try {
    return decode(instantiate(), file, limits);
  } catch (error) {
    if (error instanceof PictureError) throw error;
    // A trap, or memory that could not be had: both end inside of the sandbox.
    throw new PictureError("PICTURE_UNREADABLE", `libheif: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function decode(heif: Library, file: Buffer, limits: HeicLimits): HeicPixels {
  const error = heif._malloc(12);
  const answer = heif._malloc(8);
  const context = heif._heif_context_alloc();
  setLimits(heif, context, limits.maxPixels);
  const copy = heif._malloc(file.length);
  if (copy === 0) throw new PictureError("PICTURE_UNREADABLE", `no memory for ${file.length} bytes`);
  heif.HEAPU8.set(file, copy);
  heif._heif_context_read_from_memory_without_copy(error, context, copy, file.length, 0);
  check(heif, error);
  const animated = heif._heif_context_has_sequence(context) > 0;
  heif._heif_context_get_primary_image_handle(error, context, answer);
  const onlySequence = animated && uint32(heif, error) !== 0;
  if (!onlySequence) check(heif, error);
  const { image, channels, deep } = onlySequence
    ? decodeFirstFrame(heif, context, limits, { error, answer })
    : decodePrimary(heif, uint32(heif, answer), limits, { error, answer });
  if (heif._heif_image_get_decoding_warnings(image, 0, error, 1) > 0) check(heif, error);
  heif._heif_context_free(context);

  const width = heif._heif_image_get_width(image, INTERLEAVED);
  const height = heif._heif_image_get_height(image, INTERLEAVED);
  const start = heif._heif_image_get_plane_readonly(image, INTERLEAVED, answer);
  const row = width * channels * (deep ? 2 : 1);
  closeGaps(heif.HEAPU8, { start, row, stride: uint32(heif, answer), rows: height });
  const shape = { width, height, channels, animated };
  if (!deep) return { data: heif.HEAPU8.subarray(start, start + row * height), ...shape };
  const data = new Uint16Array(heif.HEAPU8.buffer, start, width * height * channels);
  const shift = 16 - heif._heif_image_get_bits_per_pixel_range(image, INTERLEAVED);
  for (let i = 0; i < data.length; i++) data[i] = (data[i] ?? 0) << shift;
  return { data, ...shape };
}

/** Where the C functions write their error and their answer. */
type Places = { error: number; answer: number };
type Decoded = { image: number; channels: 3 | 4; deep: boolean };

function decodePrimary(heif: Library, handle: number, limits: HeicLimits, { error, answer }: Places): Decoded {
  checkSize(heif._heif_image_handle_get_width(handle), heif._heif_image_handle_get_height(handle), limits);
  const channels = heif._heif_image_handle_has_alpha_channel(handle) ? 4 : 3;
  const deep = limits.deep && heif._heif_image_handle_get_luma_bits_per_pixel(handle) > 8;
  heif._heif_decode_image(error, handle, answer, RGB, CHROMA[channels][deep ? 16 : 8], 0);
  check(heif, error);
  heif._heif_image_handle_release(handle);
  return { image: uint32(heif, answer), channels, deep };
}

/** Of a file that has a sequence and no still picture. */
function decodeFirstFrame(heif: Library, context: number, limits: HeicLimits, { error, answer }: Places): Decoded {
  const track = heif._heif_context_get_track(context, FIRST_TRACK);
  if (track === 0) throw new PictureError("PICTURE_UNREADABLE", "a sequence without a track");
  heif._heif_track_get_image_resolution(error, track, answer, answer + 4);
  check(heif, error);
  // Of 16 bits each.
  checkSize(uint32(heif, answer) & 0xffff, uint32(heif, answer + 4) & 0xffff, limits);
  heif._heif_track_decode_next_image(error, track, answer, RGB, CHROMA[3][8], 0);
  check(heif, error);
  heif._heif_track_release(track);
  return { image: uint32(heif, answer), channels: 3, deep: false };
}

function checkSize(width: number, height: number, { maxPixels }: HeicLimits): void {
  if (width * height > maxPixels) throw new PictureError("PICTURE_TOO_LARGE", `${width} x ${height} pixels`);
}

/** Libheif's own limits (boxes, items, tiles …) stay as they are; these two are tightened. Offsets are of the C struct. */
function setLimits(heif: Library, context: number, maxPixels: number): void {
  const limits = heif._heif_context_get_security_limits(context);
  const memory = new DataView(heif.HEAPU8.buffer);
  memory.setBigUint64(limits + 8, BigInt(Math.ceil(maxPixels * PADDING)), true);
  memory.setBigUint64(limits + 64, BigInt(LEAST_MEMORY + maxPixels * BYTES_PER_PIXEL), true);
}

/** Throws what `heif_error` (code, subcode, pointer to a message) says. */
function check(heif: Library, error: number): void {
  const code = uint32(heif, error);
  if (code === 0) return;
  const message = uint32(heif, error + 8);
  const text = Buffer.from(heif.HEAPU8.subarray(message, message + 300))
    .toString("latin1")
    .split("\0", 1)[0];
  const detail = `libheif ${code}.${uint32(heif, error + 4)}: ${text}`;
  if (UNSUPPORTED.includes(code)) throw new PictureError("PICTURE_FORMAT_UNSUPPORTED", detail);
  if (code === OUT_OF_LIMITS) throw new PictureError("PICTURE_TOO_LARGE", detail);
  throw new PictureError("PICTURE_UNREADABLE", detail);
}

function uint32({ HEAPU8 }: Library, at: number): number {
  return new DataView(HEAPU8.buffer).getUint32(at, true);
}

/** Moves rows together, in place: a copy of 50 megapixels would be 150 MB. */
function closeGaps(
  memory: Uint8Array,
  { start, row, stride, rows }: { start: number; row: number; stride: number; rows: number },
): void {
  if (stride === row) return;
  for (let y = 1; y < rows; y++) {
    memory.copyWithin(start + y * row, start + y * stride, start + y * stride + row);
  }
}
