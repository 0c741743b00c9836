import { createHash, randomBytes } from "node:crypto";
import { type FileHandle, lstat, open, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { codeOf } from "../disk.ts";
import { OperationError } from "../errors.ts";
import { ending } from "./format.ts";
import { LEASE_SECONDS } from "./lease.ts";
import { padding, tarHeader } from "./tar.ts";

/** Where an entry's content lies in the file. */
export interface Place {
  offset: number;
  bytes: number;
}

export interface BackupWriter {
  /** Bytes so far. */
  readonly bytes: number;
  /** Adds an entry. @throws when the chunks are not `size` bytes together: the file is spoiled then. */
  add(name: string, size: number, chunks: Iterable<Buffer> | AsyncIterable<Buffer>): Promise<Place>;
  /** Reads back what was written. */
  read(place: Place): Promise<Buffer>;
  /** Ends the file, makes it durable and gives it its name. */
  finish(): Promise<void>;
  /** Leaves nothing behind; after `finish` it changes nothing. */
  discard(): Promise<void>;
}

/**
 * Writes a backup to `<file>.<random>.part`, which gets its name when it is complete.
 * @throws OperationError when the file is there already, is none that may be replaced, or cannot be written.
 */
export async function createBackupFile(
  file: string,
  options: { force: boolean; signal: AbortSignal },
): Promise<BackupWriter> {
  const part = `${file}.${randomBytes(4).toString("hex")}.part`;
  const refuseExisting = async () => {
    const found = await lstat(file).catch(() => null);
    if (found?.isDirectory()) throw new OperationError(`${file} is a folder`, { hint: "Name a file in it." });
    if (found && !found.isFile()) {
      throw new OperationError(`${file} is not a regular file`, {
        hint: "A backup takes the place of none but a file.",
      });
    }
    if (found && !options.force) {
      throw new OperationError(`${file} is there already`, { hint: "Choose another name, or say --force." });
    }
  };
  await refuseExisting();
  const handle = await writing(file, async () => {
    await removeLeftovers(file);
    return open(part, "wx+", 0o600);
  });
  const hash = createHash("sha256");
  const modified = Math.floor(Date.now() / 1000);
  let bytes = 0;
  const write = async (chunk: Buffer) => {
    options.signal.throwIfAborted();
    await writing(file, () => writeAll(handle, chunk));
    hash.update(chunk);
    bytes += chunk.length;
  };

  return {
    get bytes() {
      return bytes;
    },
    async add(name, size, chunks) {
      await write(tarHeader({ name, size }, modified));
      const offset = bytes;
      for await (const chunk of chunks) await write(chunk);
      if (bytes - offset !== size) throw new Error(`${name} has ${bytes - offset} bytes and not ${size}`);
      await write(padding(size));
      return { offset, bytes: size };
    },
    async read(place) {
      const content = Buffer.alloc(place.bytes);
      await handle.read(content, 0, place.bytes, place.offset);
      return content;
    },
    async finish() {
      await write(ending(hash.copy().digest()));
      await writing(file, async () => {
        await handle.sync();
        await handle.close();
      });
      await refuseExisting();
      await writing(file, async () => {
        await rename(part, file);
        const folder = await open(dirname(file), "r");
        await folder.sync().finally(() => folder.close());
      });
    },
    async discard() {
      await handle.close().catch(() => undefined);
      await rm(part, { force: true });
    },
  };
}

/**
 * Removes what backups to the same name left that were killed. Whoever writes here holds the lease, so one that has been
 * silent for a lease's time is nobody's; a younger one may be of another service.
 */
async function removeLeftovers(file: string): Promise<void> {
  const [folder, name] = [dirname(file), basename(file)];
  // A folder that may be written to and not looked into is fine.
  for (const entry of await readdir(folder).catch(() => [])) {
    if (!entry.startsWith(name) || !/^\.[0-9a-f]{8}\.part$/.test(entry.slice(name.length))) continue;
    const path = join(folder, entry);
    const found = await lstat(path).catch(() => null);
    if (found && Date.now() - found.mtimeMs > LEASE_SECONDS * 1_000) await rm(path, { force: true });
  }
}

/** A disk that is nearly full takes a part. */
async function writeAll(handle: FileHandle, chunk: Buffer): Promise<void> {
  for (let done = 0; done < chunk.length; ) done += (await handle.write(chunk, done)).bytesWritten;
}

async function writing<T>(file: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (codeOf(error) === "") throw error;
    throw new OperationError(`${file} cannot be written: ${error instanceof Error ? error.message : error}`, {
      hint: "Choose a folder that is there, may be written to and has space for all media.",
      cause: error,
    });
  }
}
