import type { Context } from "../../src/context.ts";
import { exportKey } from "./exports.ts";
import { removeStaged } from "./staging.ts";
import { abandonedExports, deleteExport, expiredExports, markFailed, unfinishedAmong } from "./store.ts";

const BATCH = 500;

/** Removes archives whose time is over, and what tries left behind that were killed. @returns how many of each. */
export async function sweepExports(
  context: Context,
): Promise<{ expired: number; abandoned: number; staged_files: number }> {
  const { config, db, media } = context;
  const expired = await expiredExports(db, BATCH);
  for (const id of expired) {
    await media.remove([exportKey(id)]);
    await deleteExport(db, id);
  }
  const abandoned = await abandonedExports(db, BATCH);
  for (const id of abandoned) await failExport(context, id);
  const staged_files = await removeStaged(config, async (ids) => {
    const unfinished = await unfinishedAmong(db, ids);
    return new Set(ids.filter((id) => !unfinished.has(id)));
  });
  return { expired: expired.length, abandoned: abandoned.length, staged_files };
}

/** Nobody works on it any more: says so, and removes what a try may have put into the store just before. */
export async function failExport({ db, media }: Pick<Context, "db" | "media">, id: string): Promise<void> {
  await markFailed(db, id);
  await media.remove([exportKey(id)]);
}
