import { createHash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { codeOf } from "../disk.ts";
import { OperationError } from "../errors.ts";
import {
  ENDING_BYTES,
  ending,
  looksLikeEnding,
  MANIFEST,
  type Manifest,
  parseManifest,
  parseSummary,
  SUMMARY,
  type Summary,
} from "./format.ts";
import { BLOCK, padding, parseTarHeader } from "./tar.ts";

/** Bytes that are read at once. */
const CHUNK = 1 << 20;
/** Bytes of the manifest and the summary at most; the latter names each object that is missing. */
const DOCUMENT_MAX = 256 << 20;

export interface Entry {
  name: string;
  size: number;
  /** The content, to be read before the next entry is asked for; what is left of it is skipped. */
  content(): AsyncGenerator<Buffer>;
}

/** A backup that was read from end to end and found whole. */
export interface BackupFile {
  manifest: Manifest;
  summary: Summary;
  /** Bytes. */
  size: number;
  /** Its entries; all is hashed again, so that a file that changes meanwhile, or a disk that errs, is noticed at the end. */
  entries(): AsyncGenerator<Entry>;
  close(): Promise<void>;
}

/**
 * Opens a backup and verifies it.
 * @param onProgress told how many bytes of how many have been read.
 * @throws OperationError for whatever is not a whole backup, byte for byte as it was written.
 */
export async function openBackup(
  file: string,
  options: { signal: AbortSignal; onProgress?: (done: number, size: number) => void },
): Promise<BackupFile> {
  const handle = await open(file, "r").catch((error: unknown) => {
    throw unreadable(file, error);
  });
  try {
    const { size } = await handle.stat();
    let manifest: Buffer | undefined;
    let summary: Buffer | undefined;
    const entries = (onProgress?: (done: number, size: number) => void) =>
      readEntries({ handle, file, size, signal: options.signal, onProgress });
    for await (const entry of entries(options.onProgress)) {
      if (entry.name === MANIFEST) manifest = await whole(entry);
      if (entry.name === SUMMARY) summary = await whole(entry);
    }
    if (!manifest || !summary) throw notABackup(file);
    // Only now is it known that they are as they were written.
    return {
      manifest: parseManifest(manifest, file),
      summary: parseSummary(summary, file),
      size,
      entries: () => entries(),
      close: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw codeOf(error) === "" ? error : unreadable(file, error);
  }
}

async function whole({ size, content }: Entry): Promise<Buffer> {
  if (size > DOCUMENT_MAX) throw new Error("a document of a backup is too large");
  return Buffer.concat(await Array.fromAsync(content()));
}

/** The entries but the last, which is compared with what was read until then. */
async function* readEntries(source: {
  handle: FileHandle;
  file: string;
  size: number;
  signal: AbortSignal;
  onProgress: ((done: number, size: number) => void) | undefined;
}): AsyncGenerator<Entry> {
  const { handle, file, size, signal, onProgress } = source;
  const end = size - ENDING_BYTES;
  const hash = createHash("sha256");
  let position = 0;
  const read = async (length: number): Promise<Buffer> => {
    signal.throwIfAborted();
    const chunk = Buffer.alloc(length);
    const { bytesRead } = await handle.read(chunk, 0, length, position);
    if (bytesRead < length) throw cut(file);
    position += length;
    return chunk;
  };
  const take = async (length: number): Promise<Buffer> => {
    const chunk = await read(length);
    hash.update(chunk);
    return chunk;
  };

  while (position < end) {
    const header = parseTarHeader(await take(BLOCK));
    if (!header) throw position === BLOCK ? notABackup(file) : altered(file);
    if (position === BLOCK && header.name !== MANIFEST) throw notABackup(file);
    let left = header.size;
    if (position + left > end) throw cut(file);
    const next = async () => {
      const chunk = await take(Math.min(left, CHUNK));
      left -= chunk.length;
      onProgress?.(position, size);
      return chunk;
    };
    yield {
      ...header,
      async *content() {
        while (left > 0) yield await next();
      },
    };
    while (left > 0) await next();
    await take(padding(header.size).length);
  }
  if (position === 0) throw notABackup(file);
  const last = await read(ENDING_BYTES);
  if (last.equals(ending(hash.digest()))) return;
  throw looksLikeEnding(last) ? altered(file) : cut(file);
}

function notABackup(file: string): OperationError {
  return new OperationError(`${file} is not a backup of tintype`, { hint: "Nothing was changed." });
}

function cut(file: string): OperationError {
  return new OperationError(`${file} does not end as a backup does: it was cut off, or something was added`, {
    hint: "Nothing was restored. Take another copy of it, or another backup.",
  });
}

function altered(file: string): OperationError {
  return new OperationError(`${file} is not as it was written: its SHA-256 differs from the one in its end`, {
    hint: "Nothing was restored. Take another copy of it, or another backup.",
  });
}

function unreadable(file: string, error: unknown): OperationError {
  return new OperationError(`${file} cannot be read: ${error instanceof Error ? error.message : error}`, {
    cause: error,
  });
}
