import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Config } from "./config/schema.ts";
import { codeOf, diskOutage, tryWriting } from "./disk.ts";

/** Runs `work` on files in the staging folder. @throws DependencyError when the disk fails, or the folder is gone. */
export function inStaging<T>(work: () => Promise<T>): Promise<T> {
  return diskOutage("the staging folder", work, { missing: true });
}

/**
 * The folder of unfinished uploads and renditions. It is made where it is not there, also when somebody took it away;
 * the data dir above it is not, for it may be a disk that is not mounted.
 * @throws DependencyError
 */
export async function openStaging({ data_dir }: Pick<Config, "data_dir">): Promise<string> {
  const folder = join(data_dir, "staging");
  await inStaging(async () => {
    await mkdir(folder, { mode: 0o700 }).catch((error: unknown) => {
      if (codeOf(error) !== "EEXIST") throw error;
    });
  });
  return folder;
}

/** @throws DependencyError when nothing can be written there. */
export async function checkStaging(config: Pick<Config, "data_dir">): Promise<void> {
  const folder = await openStaging(config);
  await inStaging(() => tryWriting(folder));
}
