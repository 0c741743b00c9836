import { randomUUID } from "node:crypto";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DependencyError } from "./errors.ts";

/** What a disk says when it is full, broken, or not ours to write to: the operator's to mend, and then it works. */
const OUTAGES = new Set([
  ...["ENOSPC", "EDQUOT", "EROFS", "EIO", "EACCES", "EPERM", "EMFILE", "ENFILE", "EBUSY"],
  // A file system on another machine, or behind a process, that is out of reach.
  ...["ESTALE", "ENXIO", "ENODEV", "ENOTCONN", "ETIMEDOUT", "EREMOTEIO", "EHOSTDOWN"],
  // A file stands where a folder should be.
  "ENOTDIR",
]);

/** The system's code (`ENOSPC`) of an error, or "". */
export function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}

/**
 * Runs `work`, which uses files.
 * @param folder what to call their folder, such as "the media folder".
 * @param options.missing whether it is an outage too that something is not there.
 * @throws DependencyError where it is the disk that fails; all other errors as they are.
 */
export async function diskOutage<T>(
  folder: string,
  work: () => Promise<T>,
  options: { missing?: boolean } = {},
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const code = codeOf(error);
    if (!OUTAGES.has(code) && !(options.missing && code === "ENOENT")) throw error;
    throw new DependencyError(`${folder} cannot be used: ${error instanceof Error ? error.message : code}`, {
      hint: "Check the data dir and the disk under it: its path, free space, permissions, mounts.",
      cause: error,
    });
  }
}

/** Writes and removes a file in `folder`. Of a block's size: some file systems keep less than that on a full disk too. */
export async function tryWriting(folder: string): Promise<void> {
  const path = join(folder, `.check-${randomUUID()}`);
  try {
    await writeFile(path, Buffer.alloc(4096), { mode: 0o600, flag: "wx" });
  } finally {
    // What is in its way was in the way of writing too, or does no harm: an empty file.
    await rm(path, { force: true }).catch(() => undefined);
  }
}
