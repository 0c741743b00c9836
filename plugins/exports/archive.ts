import { createWriteStream } from "node:fs";
import { type Readable, Transform } from "node:stream";
import { finished, pipeline } from "node:stream/promises";
import { ZipFile } from "yazl";
import { inStaging } from "../../src/staging.ts";
import type { TakeoutEntry } from "../../src/takeout.ts";

/** After so many bytes, or milliseconds, a look is taken whether to go on. */
const LOOK = { bytes: 16 * 1024 * 1024, ms: 1_000 };

/**
 * Writes a ZIP of the entries, one after the other, with zip64 where it is needed. What is not there any more is named
 * in missing.txt instead.
 *
 * Memory holds a chunk of one entry, and what the directory at the end of the archive says of each. Measured, peak over
 * the idle process: 64 MB of pictures 32 MB, 4.2 GB in 66 pictures 40 MB, 20,000 small pictures 75 MB, a list of a
 * million posts 38 MB.
 * @param path of a new file, in the staging folder; what there is of it stays after an error.
 * @param options.goOn called now and then; by throwing it ends the writing.
 * @returns the size in bytes.
 * @throws DependencyError when the disk is full or fails, and what `goOn` throws.
 */
export async function writeArchive(
  path: string,
  entries: AsyncIterable<TakeoutEntry>,
  options: { signal: AbortSignal; goOn: () => Promise<unknown> },
): Promise<number> {
  const zip = new ZipFile();
  const stop = new AbortController();
  let bytes = 0;
  let looked = { bytes: 0, at: performance.now() };
  const look = async (length: number) => {
    bytes += length;
    if (bytes - looked.bytes < LOOK.bytes && performance.now() - looked.at < LOOK.ms) return;
    looked = { bytes, at: performance.now() };
    await options.goOn();
  };
  const watched = new Transform({
    transform: (chunk: Buffer, _encoding, done) => void look(chunk.length).then(() => done(null, chunk), done),
  });
  const written = pipeline(zip.outputStream, watched, createWriteStream(path, { flags: "wx", mode: 0o600 }), {
    signal: AbortSignal.any([options.signal, stop.signal]),
  });
  let current: Readable | null = null;
  let failure: unknown = null;
  // Not by Promise.race: `written` would remember every entry that was ever raced against it.
  written.catch((error: unknown) => {
    failure = error;
    current?.destroy(error instanceof Error ? error : undefined);
  });
  return inStaging(async () => {
    try {
      const missing: string[] = [];
      for await (const entry of entries) {
        current = await entry.open();
        if (failure) throw failure;
        if (current) await add(zip, entry, current);
        else missing.push(entry.path);
      }
      if (missing.length > 0) {
        zip.addBuffer(Buffer.from(`These files were not there any more:\n\n${missing.join("\n")}\n`), "missing.txt");
      }
      zip.end();
      await written;
      return bytes;
    } catch (error) {
      // What ended the writing also ended the entry, and says more.
      const reason = failure ?? error;
      current?.destroy();
      stop.abort();
      await written.catch(() => undefined);
      throw reason;
    }
  });
}

/** Resolves when all of the entry has been read. */
async function add(zip: ZipFile, { path, packed }: TakeoutEntry, body: Readable): Promise<void> {
  let source: Readable | null = body;
  zip.addReadStreamLazy(path, { compress: !packed }, (give) => {
    if (source) give(null, source);
    // The archive keeps this function to its end; a stream that was read must not be kept with it.
    source = null;
  });
  await finished(body, { writable: false });
}
