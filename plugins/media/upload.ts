import { createHash } from "node:crypto";
import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import type { MultipartFile } from "@fastify/multipart";
import type { FastifyRequest } from "fastify";
import { v4 as randomId } from "uuid";
import type { Config } from "../../src/config/schema.ts";
import { formatSize } from "../../src/config/units.ts";
import type { Context } from "../../src/context.ts";
import { DependencyError } from "../../src/errors.ts";
import { viewerOf } from "../../src/http/auth.ts";
import { HttpError, invalidRequest, invalidValue, unsupportedMediaType } from "../../src/http/errors.ts";
import { FormContent } from "../../src/http/fingerprint.ts";
import { bodyArrived } from "../../src/http/idempotency.ts";
import { assertStorable } from "../../src/http/validation.ts";
import { assertSpace, inStaging, openStaging } from "../../src/staging.ts";
import { admitUpload } from "./admission.ts";
import { chunkArrived } from "./chunks.ts";
import {
  emptyFile,
  fileTooLarge,
  mediaMissing,
  tooManyMedia,
  tooManyPixels,
  unsupportedFormat,
  uploadIncomplete,
  uploadTooLarge,
} from "./errors.ts";
import { refuseFull } from "./quota.ts";
import { readDimensions, sniffPicture } from "./sniff.ts";

/** A picture that arrived whole and passed every check that needs no decoding. */
export interface StagedPicture {
  /** In the staging folder; whoever keeps it moves it away. */
  path: string;
  content_type: string;
  bytes: number;
  sha256: Buffer;
}

export interface Upload {
  pictures: StagedPicture[];
  /** Text fields by name, in the order in which they came. */
  fields: Map<string, string[]>;
  /** Removes what is still staged, and lets the next upload in. To be called whatever happened; it never rejects. */
  discard(): Promise<void>;
}

export interface UploadRules {
  /** The field of the pictures, and how many there may be. */
  pictures: { field: string; max: number };
  /** Which text fields are taken, how often, and how many characters (code points) each may have. */
  fields: Readonly<Record<string, { times: number; maxLength: number }>>;
}

/** Enough for the dimensions, also behind EXIF and colour profiles; what hides them deeper is found by the decoder. */
const HEAD_BYTES = 256 * 1024;
/** By then every format has shown itself. */
const SNIFF_BYTES = 4 * 1024;

/**
 * Receives a multipart upload into the staging folder, a chunk at a time: memory does not grow with the files.
 * The first thing that is wrong decides the answer; the rest of the body is then read and thrown away, because a
 * client that is still sending would not see an answer on a connection that is closed under it.
 *
 * With an Idempotency-Key all parts are hashed, also behind what is wrong: an answer is given again to the same form
 * alone, refusals too. Of a form whose answer is stored nothing is staged.
 * @throws 400, 413, 415, 422, 503: see errors.ts. Nothing stays staged then.
 */
export async function receiveUpload(
  request: FastifyRequest,
  { config, db }: Pick<Context, "config" | "db">,
  rules: UploadRules,
): Promise<Upload> {
  if (!request.isMultipart()) {
    throw unsupportedMediaType({ expected: `multipart/form-data with the field ${rules.pictures.field}` });
  }
  const leave = admitUpload(viewerOf(request).id, config.media);
  const staged: string[] = [];
  const discard = async () => {
    // Who has the answer may send the next upload at once.
    leave();
    for (const outcome of await Promise.allSettled(staged.map((path) => rm(path, { force: true })))) {
      if (outcome.status === "rejected") request.log.warn({ err: outcome.reason }, "a staged file was left behind");
    }
  };
  const pictures: StagedPicture[] = [];
  const fields = new Map<string, string[]>();
  let refusal: unknown = null;
  const sent = request.idempotency && new FormContent();
  const replays = request.idempotency?.replays === true;
  // What of a form is missing makes another one of it, which must not be told apart from what was sent.
  let whole = true;

  try {
    const most = largestUpload(config, rules);
    // A body that does not tell its length is not held to be the longest.
    const length = Number(request.headers["content-length"] ?? 0);
    if (length > most) throw uploadTooLarge({ limit: formatSize(most) });
    // What was taken is told again also to whom it left no room.
    if (!replays) await refuseFull(db, config, viewerOf(request).id, length);
    const folder = await openStaging(config);
    if (!replays) await assertSpace(folder, length);
    const limits = {
      fileSize: config.media.max_photo,
      files: rules.pictures.max + 1,
      fields: 100,
      // Code points are up to four bytes.
      fieldSize: 4 * Math.max(0, ...Object.values(rules.fields).map(({ maxLength }) => maxLength)) + 4,
      parts: 200,
    };
    // Who went away meanwhile sends no end either, for which the parser would wait.
    if (request.raw.destroyed) throw uploadIncomplete({});
    // It makes the body flow, so from here on nothing may wait before the parser.
    guardTotal(request, most);
    for await (const part of request.parts({ limits })) {
      try {
        if (part.type === "field") {
          sent?.field(part.fieldname, JSON.stringify(part.value) ?? "");
          takeField(fields, part, rules);
        } else if (refusal !== null || replays) await skip(part, sent);
        else {
          checkFile(part, pictures.length, rules);
          const path = join(folder, randomId());
          staged.push(path);
          pictures.push(await stage(part, path, { config, sent }));
        }
      } catch (error) {
        refusal ??= error;
        if (part.type === "file" && !part.file.readableDidRead) await skip(part, sent);
      }
      if (part.type === "file") whole &&= part.file.readableEnded;
    }
    if (sent) {
      if (!whole || (request.raw.destroyed && !request.raw.complete)) throw refusal ?? uploadIncomplete({});
      bodyArrived(request, sent.digest());
    }
    if (refusal !== null) throw refusal;
    if (pictures.length === 0) throw mediaMissing({ limit: rules.pictures.max, field: rules.pictures.field });
    return { pictures, fields, discard };
  } catch (error) {
    // A parser that gave up leaves the body standing, and a client that goes on sending would wait for nobody.
    request.raw.resume();
    await discard();
    throw toUploadError(refusal ?? error, rules);
  }
}

function takeField(
  fields: Upload["fields"],
  part: { fieldname: string; value: unknown; valueTruncated?: boolean },
  rules: UploadRules,
) {
  const { fieldname: name, value } = part;
  const rule = Object.hasOwn(rules.fields, name) ? rules.fields[name] : undefined;
  if (name === rules.pictures.field) throw invalidRequest({ reason: `${name} must be a file: give it a file name` });
  if (rule === undefined) {
    const known = [rules.pictures.field, ...Object.keys(rules.fields)].join(", ");
    throw invalidRequest({ reason: `it has a field that is not one of ${known}` });
  }
  const values = fields.get(name) ?? [];
  if (typeof value !== "string") throw invalidRequest({ reason: `${name} must be text` });
  if (values.length >= rule.times)
    throw invalidRequest({
      reason: rule.times === 1 ? `${name} is given twice` : `${name} is given more than ${rule.times} times`,
    });
  if (part.valueTruncated || [...value].length > rule.maxLength) {
    throw invalidValue(
      { reason: `${name} has more than ${rule.maxLength} characters` },
      { details: { fields: [{ field: name, message: "is too long" }] } },
    );
  }
  assertStorable(name, value);
  fields.set(name, [...values, value]);
}

function checkFile(part: MultipartFile, count: number, rules: UploadRules): void {
  const { field, max } = rules.pictures;
  if (part.fieldname !== field) throw invalidRequest({ reason: `files go into the field ${field}` });
  if (count >= max) throw tooManyMedia({ limit: max });
}

/** Reads a file that is not taken. */
async function skip(part: MultipartFile, sent: FormContent | null): Promise<void> {
  if (!sent) {
    part.file.resume();
    return;
  }
  const hash = createHash("sha256");
  for await (const chunk of part.file as AsyncIterable<Buffer>) hash.update(chunk);
  sent.file(part.fieldname, hash.digest());
}

async function stage(
  part: MultipartFile,
  path: string,
  { config, sent }: { config: Config; sent: FormContent | null },
): Promise<StagedPicture> {
  const { max_photo, max_pixels } = config.media;
  const name = displayName(part.filename);
  const hash = createHash("sha256");
  const head: Buffer[] = [];
  let headBytes = 0;
  let bytes = 0;
  const recognise = () => {
    const seen = sniffPicture(Buffer.concat(head));
    if ("unsupported" in seen)
      throw unsupportedFormat({ name, seen: seen.unsupported }, { details: { format: seen.unsupported } });
    return seen;
  };
  let format: ReturnType<typeof recognise> | null = null;
  let refusal: unknown = null;

  const file = await inStaging(() => open(path, "wx", 0o600));
  const take = async (chunk: Buffer) => {
    if (headBytes < HEAD_BYTES) {
      // Cut, so that what is found does not depend on how the bytes came in.
      const kept = chunk.subarray(0, HEAD_BYTES - headBytes);
      head.push(kept);
      headBytes += kept.length;
    }
    if (format === null && headBytes >= SNIFF_BYTES) format = recognise();
    await inStaging(() => file.writeFile(chunk));
  };
  try {
    for await (const chunk of part.file as AsyncIterable<Buffer>) {
      hash.update(chunk);
      bytes += chunk.length;
      if (refusal === null) await take(chunk).catch((error: unknown) => (refusal = error));
    }
  } catch (error) {
    await file.close().catch(() => undefined);
    throw error;
  }
  const sha256 = hash.digest();
  sent?.file(part.fieldname, sha256);
  await inStaging(() => file.close());
  if (refusal !== null) throw refusal;
  if (part.file.truncated)
    throw fileTooLarge({ name, limit: formatSize(max_photo) }, { details: { max_bytes: max_photo } });
  if (bytes === 0) throw emptyFile({ name });
  format ??= recognise();
  const size = readDimensions(Buffer.concat(head), format.format);
  if (size && size.width * size.height > max_pixels) {
    throw tooManyPixels({ name, ...size, limit: max_pixels }, { details: { ...size, max_pixels } });
  }
  return { path, content_type: format.contentType, bytes, sha256 };
}

/** Bytes of a whole request, past all that any accepted upload could be. */
export function largestUpload(config: Pick<Config, "media">, rules: UploadRules): number {
  return (rules.pictures.max + 1) * config.media.max_photo + 1024 * 1024;
}

/** Ends the connection of a client that sends on and on. */
function guardTotal(request: FastifyRequest, limit: number): void {
  let received = 0;
  request.raw.on("data", (chunk: Buffer) => {
    received += chunk.length;
    request.arrived = received;
    chunkArrived(chunk.length);
    if (received > limit) request.raw.destroy();
  });
}

function toUploadError(error: unknown, rules: UploadRules): unknown {
  if (error instanceof HttpError || error instanceof DependencyError || !(error instanceof Error)) return error;
  const code = "code" in error ? error.code : "";
  if (code === "FST_FILES_LIMIT") return tooManyMedia({ limit: rules.pictures.max });
  if (code === "FST_PARTS_LIMIT" || code === "FST_FIELDS_LIMIT")
    return invalidRequest({ reason: "the form has too many fields" });
  if (/boundary not found/i.test(error.message))
    return invalidRequest({ reason: "its Content-Type names no boundary between the parts" });
  // busboy's own errors, and a connection that broke, carry no status.
  return /Unexpected end|premature close|aborted|terminated early|Malformed|multipart/i.test(error.message)
    ? uploadIncomplete({}, { cause: error })
    : error;
}

/** What to call the file in a message: its own name, cut, without a path or anything unprintable. */
function displayName(filename: string | undefined): string {
  const base = (filename ?? "").replace(/^.*[\\/]/, "").replace(/[\p{C}]/gu, "");
  return base === "" ? "The file" : base.slice(0, 80);
}
