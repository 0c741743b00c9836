import limitTo from "p-limit";
import { explainFailure } from "../../src/backup/failure.ts";
import { isBackupRunning } from "../../src/backup/lease.ts";
import type { Context } from "../../src/context.ts";
import { openSession } from "../../src/db/session.ts";
import { OperationError } from "../../src/errors.ts";
import { type Suspect, takeInventory } from "./inventory.ts";
import { standingOf } from "./standing.ts";
import type { LedgerWork } from "./verify.ts";

/** Looks at the store at once. */
const AT_ONCE = 8;
/** So many orphans, if they are most of what there is, are no leftovers. */
const MANY = 100;

export interface Removal {
  /** Objects, and their bytes; with a dry run those that would be removed. */
  removed: number;
  bytes: number;
  /** Objects without a row that a backup, which is running, may still have to read: for the next time. */
  kept_for_backup: number;
  duration_ms: number;
}

/**
 * Removes objects that no row stands for: what processes left that were killed, or stores that answered too late. Each
 * is looked at again right before. It may be ended at any moment and run again, also twice at once.
 * @param force also where they are most of what there is: as with the database of another service.
 * @throws OperationError where they are, without `force`; DependencyError when the store, or Postgres, is not there.
 */
export async function removeOrphans({
  dryRun,
  force,
  ...work
}: LedgerWork & { dryRun: boolean; force: boolean }): Promise<Removal> {
  const { context, connection, signal, progress } = work;
  const { db, media } = context;
  const started = performance.now();
  const done = { removed: 0, bytes: 0, kept_for_backup: 0 };
  const session = openSession(connection, "tintype media");
  try {
    const inventory = await takeInventory({ ...work, db, media, session });
    const { found, unknown } = inventory;
    if (!dryRun && !force && unknown > MANY && unknown > found / 2) {
      throw new OperationError(`no row stands for ${unknown} of the ${found} objects`, {
        hint: "Is this the database of that store? If so, say --force; look at it first with --dry-run.",
      });
    }
    for await (const suspects of inventory.suspects()) {
      signal.throwIfAborted();
      const { orphans, kept } = await orphansAmong(context, suspects);
      if (!dryRun && orphans.length > 0) await media.remove(orphans.map(({ key }) => key));
      done.removed += orphans.length;
      done.bytes += orphans.reduce((sum, { bytes }) => sum + bytes, 0);
      done.kept_for_backup += kept;
      progress(`orphans: ${done.removed} ${dryRun ? "found" : "removed"}`);
    }
    return { ...done, duration_ms: Math.round(performance.now() - started) };
  } catch (error) {
    throw signal.aborted ? signal.reason : explainFailure(error);
  } finally {
    await session.destroy();
  }
}

async function orphansAmong(
  { db, media }: Context,
  suspects: readonly Suspect[],
): Promise<{ orphans: { key: string; bytes: number }[]; kept: number }> {
  const keys = suspects.filter(({ known }) => !known).map(({ key }) => key);
  const now = await standingOf(db, keys);
  // After the rows: see src/backup/lease.ts. Of media that are gone, no backup that runs knows any more.
  const backup = await isBackupRunning(db);
  let kept = 0;
  const found = await limitTo(AT_ONCE).map(keys, async (key) => {
    const standing = now.get(key);
    if (standing?.state !== "unneeded") return null;
    const bytes = await media.size(key);
    if (bytes === null) return null;
    if (backup && !standing.ownerless) {
      kept += 1;
      return null;
    }
    return { key, bytes };
  });
  return { orphans: found.filter((object) => object !== null), kept };
}
