import { access, mkdir, mkdtemp, readdir, rename, rm, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";

/** What is downloaded and built lies outside of the checkout, so that the next one starts in seconds. */
export const cacheFolder = (): string =>
  join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "tintype", "services");

const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );

/** The folder of this version of something in the cache; undefined if it is not there. */
export async function cached(name: string, version: string): Promise<string | undefined> {
  const folder = join(cacheFolder(), `${name}-${version}`);
  return (await exists(folder)) ? folder : undefined;
}

/** Of somebody who was killed: nothing takes that long. */
const ABANDONED_MS = 24 * 3_600_000;
const UNFINISHED = "unfinished-";

/**
 * Puts something into the cache, unless it is there. It appears there whole or not at all, and whoever is first wins:
 * several may build the same at the same time.
 * @param build fills the folder that it is given.
 * @returns its folder.
 */
export async function cache(name: string, version: string, build: (folder: string) => Promise<void>): Promise<string> {
  const there = await cached(name, version);
  if (there) return there;
  await mkdir(cacheFolder(), { recursive: true });
  await removeAbandoned();
  const unfinished = await mkdtemp(join(cacheFolder(), `${UNFINISHED}${name}-`));
  const folder = join(cacheFolder(), `${name}-${version}`);
  try {
    await build(unfinished);
    await rename(unfinished, folder).catch(async (error) => {
      if (!(await exists(folder))) throw error;
    });
    return folder;
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
}

async function removeAbandoned(): Promise<void> {
  for (const name of await readdir(cacheFolder())) {
    if (!name.startsWith(UNFINISHED)) continue;
    const folder = join(cacheFolder(), name);
    const { mtimeMs } = await stat(folder).catch(() => ({ mtimeMs: Number.POSITIVE_INFINITY }));
    if (Date.now() - mtimeMs > ABANDONED_MS) await rm(folder, { recursive: true, force: true });
  }
}
