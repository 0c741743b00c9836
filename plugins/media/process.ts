import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { v7 as newId } from "uuid";
import type { Context } from "../../src/context.ts";
import { inTransaction } from "../../src/db/transaction.ts";
import { DependencyError } from "../../src/errors.ts";
import { NotYetError, type Run } from "../../src/jobs/job.ts";
import { inStaging, openStaging, RENDER_PREFIX } from "../../src/staging.ts";
import { DecoderBusyError, DecoderClosedError, type DecoderPool } from "./decoder/pool.ts";
import { FAILURES, PictureError, type PictureErrorCode, TALLEST } from "./decoder/protocol.ts";
import { originalKey, renditionKey } from "./keys.ts";
import { removeObjects } from "./media.ts";
import { imageProcessing } from "./metrics.ts";
import { beginTry, judgeFailure, judgeLoss } from "./quarantine.ts";
import { clearCrashes, noteSlow, putOutOfHand, takeInHand } from "./quarantine-store.ts";
import { noteRenewal, settleRenditions } from "./renew.ts";
import { abandonedMedia, type Failure, lockMedium, type MediumRow, markFailed, mediumById } from "./store.ts";

/**
 * Makes the renditions of a medium and says `media.ready`. Safe to run twice, also at the same time: objects are
 * replaced by equal ones, and whoever finds the row ready changes nothing. With `again` it makes new ones of a medium that
 * is ready, each try under a version of its own, and puts them in the place of the old; see `noteRenewal`.
 * On the last try, and when the content has come into quarantine, a failure is written down for the author
 * (`media.failed`) before it is thrown.
 */
export async function processMedium(
  context: Context,
  pool: DecoderPool,
  { id: mediumId, again }: { id: string; again: boolean },
  run: Run,
): Promise<void> {
  const medium = await mediumById(context.db, mediumId);
  if (medium?.state === "ready" && (!again || medium.original_dropped_at !== null)) return;
  if (medium === undefined || medium.state === "removed") {
    // A try that was killed may have left renditions behind after the removal.
    await removeObjects(context, mediumId);
    return;
  }
  try {
    const version = medium.state === "ready" ? newId() : "";
    const suspect = await beginTry(context.db, medium, run);
    await renderAndStore(context, pool, medium, { run, suspect, version });
  } catch (error) {
    if (error instanceof DecoderBusyError) {
      if (error.setAside) await noteSlow(context.db, medium.sha256);
      throw new NotYetError("the decoder for what takes long is busy", error.seconds);
    }
    // Its turn never came in this process; that must not cost it a try.
    if (error instanceof DecoderClosedError)
      throw new DependencyError("this worker is being stopped", { cause: error });
    // A store that went away under the decoder looks like a picture that cannot be read.
    await context.media.check();
    const judged = await judgeFailure(context.db, medium, error, run.log);
    const isFinal = judged instanceof PictureError && judged.code === "PICTURE_QUARANTINED";
    if (isFinal || (run.last && !(judged instanceof DependencyError)))
      await failMedium(context, mediumId, toFailure(judged));
    throw judged;
  }
}

/** Media whose worker was killed in the last try: no handler lived to write that down. */
export async function failAbandoned(context: Context): Promise<number> {
  const ids = await abandonedMedia(context.db);
  for (const id of ids) {
    await failMedium(context, id, failureOf(await judgeLoss(context.db, id)));
  }
  return ids.length;
}

/** @param options.version of the renditions' keys; a name of its own for those that replace others. */
async function renderAndStore(
  context: Context,
  pool: DecoderPool,
  { id: mediumId, owner_id: owner, purpose }: MediumRow,
  { run, suspect, version }: { run: Run; suspect: boolean; version: string },
): Promise<void> {
  const { config, db, emit, media } = context;
  const original = await media.localFile(originalKey(mediumId));
  if (!original) throw new Error("the original is not in the store");
  let folder: string | undefined;
  let stopTimer: (() => void) | undefined;
  let inHand = false;
  /** Its turn has come: the wait for a decoder is neither a part of the try nor of the time it takes. */
  const onStart = async () => {
    stopTimer = imageProcessing.startTimer();
    const { quarantined } = await takeInHand(db, mediumId);
    if (quarantined) throw new PictureError("PICTURE_QUARANTINED", "while it waited");
    inHand = true;
  };
  try {
    const staging = await openStaging(config);
    const output = await inStaging(() => mkdtemp(join(staging, RENDER_PREFIX)));
    folder = output;
    const { renditions, ...picture } = await inStaging(() =>
      pool.render(original.path, output, {
        signal: run.signal,
        owner,
        tallest: TALLEST[purpose],
        suspect,
        onStart,
      }),
    );
    if (version !== "") await noteRenewal(context, mediumId, version);
    for (const { name, path } of renditions) await media.putFile(renditionKey(mediumId, name, version), path);
    const kept = await inTransaction(db, async (tx) => {
      const row = await lockMedium(tx, mediumId);
      if (!row || row.state === "removed") return false;
      if (row.state === "ready" && version === "") return true;
      // Taken away from this try, it may be another's by now, and what this one has put be removed.
      if (version !== "") run.signal.throwIfAborted();
      await settleRenditions(tx, context, mediumId, {
        ...picture,
        renditions: renditions.map(({ name, width, height, bytes, sha256 }) => ({
          name,
          version,
          width,
          height,
          bytes,
          sha256: Buffer.from(sha256, "hex"),
        })),
      });
      await clearCrashes(tx, mediumId);
      if (row.state !== "ready") await emit(tx, "media.ready", { medium_id: mediumId });
      return true;
    });
    inHand = false;
    if (!kept) await removeObjects(context, mediumId);
  } finally {
    stopTimer?.();
    // What fails here must not hide why the try failed, nor undo one that did not; the sweeper takes the rest.
    const cleanUps = [
      original.release(),
      folder && rm(folder, { recursive: true, force: true, maxRetries: 3 }),
      inHand && putOutOfHand(db, mediumId),
    ];
    for (const outcome of await Promise.allSettled(cleanUps)) {
      if (outcome.status === "rejected") run.log.warn({ err: outcome.reason }, "a try has left something behind");
    }
  }
}

async function failMedium({ db, emit }: Context, mediumId: string, failure: Failure): Promise<void> {
  await inTransaction(db, async (tx) => {
    const row = await lockMedium(tx, mediumId);
    if (row?.state !== "processing" && row?.state !== "failed") return;
    await markFailed(tx, mediumId, failure);
    await emit(tx, "media.failed", { medium_id: mediumId, ...failure });
  });
}

function toFailure(error: unknown): Failure {
  return failureOf(error instanceof PictureError ? error.code : "PROCESSING_FAILED");
}

function failureOf(code: PictureErrorCode): Failure {
  return { code, message: FAILURES[code] };
}
