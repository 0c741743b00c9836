import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Config } from "../../src/config/schema.ts";
import { inStaging, openStaging, spaceOf } from "../../src/staging.ts";

/** What an archive leaves free of the disk: more than uploads do, so that a large one stops before it stops them. */
const RESERVE = { bytes: 1024 ** 3, share: 0.05 };

/** `export-<id of the export>-<id of the try>.zip`: two tries never write the same file. */
const NAME = /^export-([0-9a-f-]{36})-[0-9a-f-]{36}\.zip$/;

export function stagedName(exportId: string, tryId: string): string {
  return `export-${exportId}-${tryId}.zip`;
}

/** Whether an archive may be begun, or may grow. @throws DependencyError when the disk cannot be asked. */
export async function hasRoom(folder: string): Promise<boolean> {
  const space = await spaceOf(folder);
  return !space || space.free >= Math.max(RESERVE.bytes, RESERVE.share * space.total);
}

/** Removes the unfinished archives of exports that `isLeft` says yes to. @returns how many. */
export async function removeStaged(
  config: Pick<Config, "data_dir">,
  isLeft: (exportIds: readonly string[]) => Promise<ReadonlySet<string>>,
): Promise<number> {
  const folder = await openStaging(config);
  return inStaging(async () => {
    const staged = (await readdir(folder)).flatMap((name) => {
      const id = NAME.exec(name)?.[1];
      return id === undefined ? [] : [{ name, id }];
    });
    const left = await isLeft(staged.map(({ id }) => id));
    const files = staged.filter(({ id }) => left.has(id));
    for (const { name } of files) await rm(join(folder, name), { force: true });
    return files.length;
  });
}
