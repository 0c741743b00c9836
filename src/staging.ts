import { mkdir, readdir, rm, stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "pino";
import type { Config } from "./config/schema.ts";
import { codeOf, diskOutage, tryWriting } from "./disk.ts";
import { DependencyError } from "./errors.ts";

/** How the folders of renditions that are being made begin. */
export const RENDER_PREFIX = "render-";

/** Bytes that uploads leave free: renditions need some, and an embedded Postgres on the same disk stops without any. */
const SPARE = 64 * 1024 * 1024;

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

/** @throws DependencyError when nothing can be written there, or the disk is nearly full. */
export async function checkStaging(config: Pick<Config, "data_dir">): Promise<void> {
  const folder = await openStaging(config);
  await inStaging(() => tryWriting(folder));
  await assertSpace(folder, 0);
}

/** Bytes of the folder's disk, and how many of them are free; null where its file system cannot tell. @throws DependencyError */
export async function spaceOf(folder: string): Promise<{ free: number; total: number } | null> {
  const { bavail, bsize, blocks } = await inStaging(() => statfs(folder));
  return blocks === 0 ? null : { free: bavail * bsize, total: blocks * bsize };
}

/**
 * Asked before the first byte of an upload is read: one that fills the disk would fail for all that are under way.
 * @throws DependencyError when the disk of `folder` has not so many bytes to spare.
 */
export async function assertSpace(folder: string, bytes: number): Promise<void> {
  const space = await spaceOf(folder);
  if (!space || space.free >= bytes + SPARE) return;
  throw new DependencyError(`the disk of ${folder} is nearly full: ${space.free} bytes are free`, {
    hint: "Make space on it, or give the data dir a larger disk.",
  });
}

/** Milliseconds after which nobody works on a folder of renditions any more: a try is long over by then. */
const RENDER_MAX_AGE = 15 * 60_000;
const SWEEP_INTERVAL = 60_000;

/**
 * Removes what killed processes left in the staging folder: now, and every minute. Each process does so, because the folder
 * may be this machine's alone. @returns a function that ends it.
 */
export function keepStagingSwept(config: Config, log: Logger): () => void {
  const { staging_max_age } = config.media;
  const sweep = async () => {
    try {
      const files = await sweepStaging(await openStaging(config), staging_max_age);
      if (files > 0) log.info({ staged_files: files }, "leftovers swept");
    } catch (error) {
      log.warn({ err: error }, "the staging folder could not be swept");
    }
  };
  const timer = setInterval(sweep, Math.min(SWEEP_INTERVAL, staging_max_age)).unref();
  void sweep();
  return () => clearInterval(timer);
}

/** @returns how many files and folders older than `maxAge` ms were removed. */
function sweepStaging(folder: string, maxAge: number): Promise<number> {
  return inStaging(async () => {
    let removed = 0;
    for (const name of await readdir(folder)) {
      const path = join(folder, name);
      const age = await stat(path).then(
        ({ mtimeMs }) => Date.now() - mtimeMs,
        // Another process took it away meanwhile.
        () => 0,
      );
      if (age <= (name.startsWith(RENDER_PREFIX) ? RENDER_MAX_AGE : maxAge)) continue;
      await rm(path, { recursive: true, force: true });
      removed += 1;
    }
    return removed;
  });
}
