import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import {
  access,
  chmod,
  copyFile,
  type FileHandle,
  mkdir,
  open,
  opendir,
  readdir,
  rename,
  rm,
  rmdir,
  stat,
  writeFile,
} from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { Readable } from "node:stream";
import { codeOf, diskOutage, tryWriting } from "../../disk.ts";
import { ConfigError, DependencyError, UnreadableObjectError } from "../../errors.ts";
import type { ByteRange, ListedObject, MediaStore } from "../../ports/media.ts";
import { assertFolder, assertKey, isKey } from "./keys.ts";

/** Bytes that are read at once. */
const CHUNK = 256 * 1024;
/** How often a move into a folder that is removed meanwhile is tried. */
const MOVES = 10;

/**
 * Lies in the root of every store: the folder that an unmounted disk leaves behind has none, and what were put there
 * would be out of sight when the disk is back. No key has this name.
 */
const MARKER = "tintype-store.txt";
const MARKER_TEXT =
  "This folder is a media store of Tintype. Leave this file here: without it, the store counts as not mounted.\n";
/** How a file ends that is being copied here. No key does. */
const PART = ".part";
/** What others than this account may be let read: people are shown it, by nginx too. */
const SHARED = "renditions/";
/** What a new, empty file system has in its root. */
const NO_CONTENT = new Set(["lost+found"]);

/**
 * Objects as files below `root`, written by fsync and rename.
 * Beside the root lies `<root>.made`, once the store has been made: an empty root is then a disk that is not mounted.
 * @param options.make whether it is made where there never was one.
 * @param options.shared whether the group of this process may read renditions, as an nginx that sends them must. All else
 * is for this account alone.
 * @throws DependencyError when the store cannot be used, or is not there any more; ConfigError when there never was one
 * and none is to be made.
 */
export async function openFilesystemStore(
  root: string,
  { make = true, shared = false }: { make?: boolean; shared?: boolean } = {},
): Promise<MediaStore> {
  await outage(() => makeOnce(root, { make, shared }));

  const pathOf = (key: string) => {
    assertKey(key);
    return join(root, key);
  };
  const assertThere = async () => {
    if (!(await exists(join(root, MARKER)))) throw notThere(root);
  };
  /** What it means that an object cannot be read: that it is damaged, or that the whole store went away. */
  const unreadable = (key: string, cause: unknown): Promise<Error> =>
    outage(assertThere).then(
      () => new UnreadableObjectError(key, cause),
      (gone: Error) => gone,
    );

  return {
    async putFile(key, path) {
      const target = pathOf(key);
      await outage(async () => {
        await assertThere();
        const isShared = shared && key.startsWith(SHARED);
        if (isShared) await chmod(path, 0o640);
        await syncFile(path);
        for (let attempt = 1; ; attempt++) {
          try {
            await makeDurableFolder(root, dirname(target), isShared);
            await moveInto(path, target);
            break;
          } catch (error) {
            // A removal beside it took the folder away just now, because it was empty.
            if (codeOf(error) !== "ENOENT" || attempt === MOVES) throw error;
            await assertThere();
          }
        }
        // Without a folder the object itself was removed meanwhile.
        await syncFile(dirname(target)).catch(absent);
        // The disk may have gone since the first look, and the object lie where it was.
        await assertThere();
      });
    },

    async read(key, range) {
      const path = pathOf(key);
      const failed = (error: unknown) => unreadable(key, error);
      let file: FileHandle | null = null;
      try {
        file = await open(path).catch(absent);
        if (file) {
          const { size } = await file.stat();
          return { size, body: bodyOf(file, range ?? null, failed) };
        }
      } catch (error) {
        await file?.close().catch(() => undefined);
        throw await failed(error);
      }
      await outage(assertThere);
      return null;
    },

    async size(key) {
      const path = pathOf(key);
      return outage(async () => {
        const found = await stat(path).catch(absent);
        if (found) return found.size;
        await assertThere();
        return null;
      });
    },

    async localFile(key) {
      const path = pathOf(key);
      return outage(async () => {
        if (await exists(path)) return { path, release: async () => {} };
        await assertThere();
        return null;
      });
    },

    async address(key) {
      assertKey(key);
      return null;
    },

    async remove(keys) {
      const folders = new Set<string>();
      await outage(async () => {
        const paths = keys.map(pathOf);
        // What cannot be seen is not removed yet.
        await assertThere();
        for (const path of paths) {
          await rm(path, { force: true });
          folders.add(dirname(path));
        }
        // A medium's folder goes with its last rendition; one that is not empty stays.
        for (const folder of folders) await rmdir(folder).catch(() => undefined);
      });
    },

    async *list(folder) {
      assertFolder(folder);
      await outage(assertThere);
      for await (const { path, key } of filesBelow(root, join(root, folder))) {
        if (!isKey(key)) continue;
        const found = await outage(() => stat(path).catch(absent));
        if (found) yield { key, bytes: found.size, modified_at: found.mtime } satisfies ListedObject;
      }
    },

    async sweep(age) {
      let removed = 0;
      await outage(async () => {
        await assertThere();
        for await (const { path } of filesBelow(root, root)) {
          if (!path.endsWith(PART)) continue;
          const found = await stat(path).catch(absent);
          if (!found || Date.now() - found.mtimeMs < age) continue;
          await rm(path, { force: true });
          removed += 1;
        }
      });
      return removed;
    },

    async isEmpty() {
      return outage(async () => {
        await assertThere();
        for await (const _ of filesBelow(root, root)) return false;
        return true;
      });
    },

    async check() {
      await outage(async () => {
        await assertThere();
        await tryWriting(root);
      });
    },

    async close() {},
  };
}

/**
 * Bytes of a file, which is closed at the end. Not Node's own stream: what that one fails with names no object, and cannot
 * be told from what its reader destroyed it with.
 */
function bodyOf(file: FileHandle, range: ByteRange | null, failed: (error: unknown) => Promise<Error>): Readable {
  // Without a range it is read on to its end: not everything that can be read has a size, or places.
  let position = range ? range.start : null;
  const end = range?.end ?? Number.POSITIVE_INFINITY;
  let reading = Promise.resolve();
  return new Readable({
    highWaterMark: CHUNK,
    read() {
      const length = Math.min(CHUNK, end + 1 - (position ?? 0));
      if (length <= 0) {
        this.push(null);
        return;
      }
      reading = file.read(Buffer.allocUnsafeSlow(length), 0, length, position).then(
        ({ buffer, bytesRead }) => {
          if (position !== null) position += bytesRead;
          this.push(bytesRead > 0 ? buffer.subarray(0, bytesRead) : null);
        },
        async (error: unknown) => {
          this.destroy(await failed(error));
        },
      );
    },
    destroy(error, done) {
      // Not while it reads: the descriptor's number may be another file's by then.
      reading.then(() => file.close()).then(() => done(error), done);
    },
  });
}

/** Files of `folder` and of those in it, with their keys. In the root, files are the store's own. */
async function* filesBelow(root: string, folder: string): AsyncGenerator<{ path: string; key: string }> {
  const entries = await outage(() => opendir(folder).catch(absent));
  for await (const entry of entries ?? []) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* filesBelow(root, path);
    else if (relative(root, folder) !== "") yield { path, key: relative(root, path) };
  }
}

/** Makes the store where there never was one. Several processes may do so at once: whoever sees traces of another, looks again. */
async function makeOnce(root: string, { make, shared }: { make: boolean; shared: boolean }): Promise<void> {
  const [marker, note] = [join(root, MARKER), noteOf(root)];
  if (!(await exists(marker))) {
    const names = (await readdir(root).catch(absent)) ?? [];
    const content = names.filter((name) => !NO_CONTENT.has(name));
    const made = await exists(note);
    if (made || content.length > 0) {
      // The marker is written first of all, so another process that is just making the store has written it by now.
      if (await exists(marker)) return;
      throw made ? notThere(root) : notEmpty(root);
    }
    if (!make) throw neverThere(root);
    await mkdir(root, { recursive: true, mode: 0o700 });
    if (shared) await chmod(root, 0o750);
    await writeNew(marker, MARKER_TEXT);
    await syncFile(root);
  }
  // A store that is only read may lie on a disk that cannot be written.
  if (make && !(await exists(note))) await writeNew(note, `Tintype keeps media in ${root}.\n`);
}

function noteOf(root: string): string {
  return `${root}.made`;
}

function notThere(root: string): DependencyError {
  return new DependencyError(`the media store in ${root} is not there: it has no ${MARKER}`, {
    hint: `Mount its disk again. To begin with a new, empty store instead: stop, remove ${noteOf(root)}, start.`,
  });
}

function neverThere(root: string): ConfigError {
  return new ConfigError(`there is no media store in ${root}`, {
    hint: "Set TINTYPE_DATA_DIR to the data dir that has it.",
  });
}

function notEmpty(root: string): DependencyError {
  return new DependencyError(`${root} is not empty and no media store: it has no ${MARKER}`, {
    hint: `Choose another data dir; or, if this is a store whose marker was lost, make the file ${join(root, MARKER)}.`,
  });
}

async function exists(path: string): Promise<boolean> {
  return access(path, constants.R_OK).then(
    () => true,
    (error) => absent(error) ?? false,
  );
}

/** Writes a file that outlives a crash; one that is there already stays as it is. */
async function writeNew(path: string, text: string): Promise<void> {
  await writeFile(path, text, { flag: "wx", mode: 0o600, flush: true }).catch((error: unknown) => {
    if (codeOf(error) !== "EEXIST") throw error;
  });
  await syncFile(dirname(path));
}

function absent(error: unknown): null {
  if (codeOf(error) === "ENOENT") return null;
  throw error;
}

/** Makes a folder below the root, and its name durable. Never the root itself: see MARKER. */
async function makeDurableFolder(root: string, folder: string, shared: boolean): Promise<void> {
  if (folder === root) return;
  try {
    await mkdir(folder, { mode: 0o700 });
    // Whatever the umask is.
    if (shared) await chmod(folder, 0o750);
  } catch (error) {
    if (codeOf(error) === "EEXIST") return;
    if (codeOf(error) !== "ENOENT" || dirname(folder) === root) throw error;
    await makeDurableFolder(root, dirname(folder), shared);
    return makeDurableFolder(root, folder, shared);
  }
  await syncFile(dirname(folder));
}

async function syncFile(path: string): Promise<void> {
  const file = await open(path, "r");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Rename, or copy beside the target and rename where staging is another file system. */
async function moveInto(path: string, target: string): Promise<void> {
  try {
    await rename(path, target);
  } catch (error) {
    if (codeOf(error) !== "EXDEV") throw error;
    // A name of its own, which no key has: the same object may be put twice at the same time.
    const copy = `${target}.${randomUUID()}${PART}`;
    try {
      await copyFile(path, copy);
      await syncFile(copy);
      await rename(copy, target);
    } catch (failure) {
      await rm(copy, { force: true }).catch(() => undefined);
      throw failure;
    }
    await rm(path, { force: true });
  }
}

function outage<T>(work: () => Promise<T>): Promise<T> {
  return diskOutage("the media folder", work);
}
