import { randomBytes } from "node:crypto";
import { mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

/** Far longer than initdb or a copy takes: a build this old was left by a process that died. */
const ABANDONED_AFTER_MS = 10 * 60_000;

/**
 * Makes `target` a complete folder or none: it is built beside it and renamed. Of several processes that build it at
 * once the first to finish wins; the others throw theirs away and use the winner's.
 */
export async function buildOnce(target: string, build: (directory: string) => Promise<void>): Promise<void> {
  const parent = dirname(target);
  const prefix = `${basename(target)}.init-`;
  await removeAbandoned(parent, prefix);
  const directory = join(parent, `${prefix}${randomBytes(6).toString("hex")}`);
  try {
    await mkdir(directory, { mode: 0o700 });
    await build(directory);
    await rename(directory, target);
    await syncFolder(parent);
  } catch (error) {
    await rm(directory, { recursive: true, force: true });
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ENOTEMPTY" && code !== "EEXIST") throw error;
  }
}

async function removeAbandoned(parent: string, prefix: string): Promise<void> {
  for (const name of await readdir(parent)) {
    if (!name.startsWith(prefix)) continue;
    const path = join(parent, name);
    const age = await stat(path).then(
      ({ mtimeMs }) => Date.now() - mtimeMs,
      () => 0, // its builder has just finished
    );
    if (age > ABANDONED_AFTER_MS) await rm(path, { recursive: true, force: true });
  }
}

/** Without it a power cut may take the rename back. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path);
  await folder.sync().finally(() => folder.close());
}
