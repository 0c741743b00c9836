import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { access, copyFile, mkdir, open, rename, rm, rmdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { DependencyError } from "../../errors.ts";
import type { MediaStore } from "../../ports/media.ts";

const KEY = /^[a-z0-9-]+(\/[a-z0-9-]+(\.[a-z0-9]+)?)+$/;
/** What the disk says when it is full, gone, or not ours to write to: the operator's to mend, and then it works. */
const OUTAGES = new Set([
  ...["ENOSPC", "EDQUOT", "EROFS", "EIO", "EACCES", "EPERM", "ESTALE", "ENXIO", "EMFILE", "ENFILE"],
  // A file stands where a folder should be.
  ...["ENOTDIR", "EEXIST"],
]);

/** To the store itself, that its folder is not there says that the disk is not. */
const UNUSABLE = new Set([...OUTAGES, "ENOENT", "ENOTDIR"]);
/** How often a move into a folder that is removed meanwhile is tried. */
const MOVES = 10;

/** Objects as files below `root`, written by fsync and rename. */
export async function openFilesystemStore(root: string): Promise<MediaStore> {
  await outage(() => mkdir(root, { recursive: true, mode: 0o700 }));

  const pathOf = (key: string) => {
    if (!KEY.test(key)) throw new Error(`not a media key: ${key}`);
    return join(root, key);
  };

  return {
    async putFile(key, path) {
      const target = pathOf(key);
      await outage(async () => {
        await syncFile(path);
        for (let attempt = 1; ; attempt++) {
          try {
            await makeDurableFolder(root, dirname(target));
            await moveInto(path, target);
            break;
          } catch (error) {
            // A removal beside it took the folder away just now, because it was empty.
            if (codeOf(error) !== "ENOENT" || attempt === MOVES) throw error;
          }
        }
        // Without a folder the object itself was removed meanwhile.
        await syncFile(dirname(target)).catch(absent);
      });
    },

    async read(key, range) {
      return outage(async () => {
        const file = await open(pathOf(key)).catch(absent);
        if (!file) return null;
        try {
          const { size } = await file.stat();
          return { size, body: file.createReadStream({ ...range, highWaterMark: 256 * 1024 }) };
        } catch (error) {
          await file.close();
          throw error;
        }
      });
    },

    async localFile(key) {
      const path = pathOf(key);
      const there = await outage(() => access(path, constants.R_OK).then(() => true, absent));
      return there ? { path, release: async () => {} } : null;
    },

    async remove(keys) {
      const folders = new Set<string>();
      await outage(async () => {
        for (const key of keys) {
          await rm(pathOf(key), { force: true });
          folders.add(dirname(pathOf(key)));
        }
        // A medium's folder goes with its last rendition; one that is not empty stays.
        for (const folder of folders) await rmdir(folder).catch(() => undefined);
      });
    },

    async check() {
      await outage(() => access(root, constants.R_OK | constants.W_OK | constants.X_OK), UNUSABLE);
    },

    async close() {},
  };
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}

function absent(error: unknown): null {
  if (codeOf(error) === "ENOENT") return null;
  throw error;
}

/** Makes a folder and the names of all new folders above it durable. */
async function makeDurableFolder(root: string, folder: string): Promise<void> {
  const first = await mkdir(folder, { recursive: true, mode: 0o700 });
  if (first === undefined) return;
  for (let parent = dirname(folder); parent.length >= dirname(first).length; parent = dirname(parent)) {
    await syncFile(parent);
    if (parent === root) break;
  }
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
    const copy = `${target}.${randomUUID()}.part`;
    try {
      await copyFile(path, copy);
      await syncFile(copy);
      await rename(copy, target);
    } catch (failure) {
      await rm(copy, { force: true });
      throw failure;
    }
    await rm(path, { force: true });
  }
}

async function outage<T>(work: () => Promise<T>, outages: ReadonlySet<string> = OUTAGES): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Error && outages.has(codeOf(error))) {
      throw new DependencyError(`the media folder cannot be used: ${error.message}`, {
        hint: "Check the data dir and the disk under it: its path, free space, permissions, mounts.",
        cause: error,
      });
    }
    throw error;
  }
}
