import { isBackupRunning } from "../../src/backup/lease.ts";
import type { Context } from "../../src/context.ts";
import { inTransaction, type Tx } from "../../src/db/transaction.ts";
import { NotYetError } from "../../src/jobs/job.ts";
import { RENDITION_NAMES } from "./decoder/protocol.ts";
import { originalKey, renditionKey } from "./keys.ts";
import { standingOf } from "./standing.ts";
import { dropOriginal, markReady, type ReadyMedium, takeRenditions } from "./store.ts";

/** Until then whoever has just read the row, or been sent to the object, finds it. */
const DISCARD_SECONDS = 120;
/** By then the try that puts renditions is long over, whichever way it ended. */
const TRY_SECONDS = 600;
/** How soon a removal that waits for a backup asks again. */
const BACKUP_WAIT_SECONDS = 10;

/**
 * Says, before a try puts renditions under a version of its own, that they are to be removed if no row stands for them when
 * it is over: because it failed, was killed, or came too late.
 */
export async function noteRenewal(
  { db, enqueue }: Pick<Context, "db" | "enqueue">,
  mediumId: string,
  version: string,
): Promise<void> {
  const keys = RENDITION_NAMES.map((name) => renditionKey(mediumId, name, version));
  await inTransaction(db, (tx) =>
    enqueue(tx, "media.discard", { medium_id: mediumId, keys }, { delaySeconds: TRY_SECONDS }),
  );
}

/** Writes down the renditions of a medium, in place of others that it has: their objects go by a job. */
export async function settleRenditions(
  tx: Tx,
  { enqueue, config }: Pick<Context, "enqueue" | "config">,
  mediumId: string,
  ready: ReadyMedium,
): Promise<void> {
  const replaced = await takeRenditions(tx, mediumId);
  await markReady(tx, mediumId, ready);
  const keys = replaced.map(({ name, version }) => renditionKey(mediumId, name, version));
  if (config.media.originals === "drop" && (await dropOriginal(tx, mediumId))) keys.push(originalKey(mediumId));
  if (keys.length === 0) return;
  await enqueue(tx, "media.discard", { medium_id: mediumId, keys }, { delaySeconds: DISCARD_SECONDS });
}

/**
 * Removes objects of a medium that goes on without them. What a row stands for stays, whatever is asked for.
 * @throws NotYetError while a backup may still have to read them.
 */
export async function discardObjects({ db, media }: Pick<Context, "db" | "media">, keys: string[]): Promise<void> {
  const now = await standingOf(db, keys);
  // After the rows: see src/backup/lease.ts.
  if (await isBackupRunning(db)) throw new NotYetError("a backup is running", BACKUP_WAIT_SECONDS);
  await media.remove(keys.filter((key) => now.get(key)?.state !== "needed"));
}
