/**
 * Which contents are decoded no more. A content that cost three decoders or two workers is in quarantine, by its hash,
 * whoever uploads it; one that cost fewer is a suspect, and is decoded apart from others, one at a time.
 *
 * Who is to blame for a worker that is gone cannot be seen, so all that it had in hand are suspects: a deploy by kill -9
 * makes some innocent ones. The first time that they are decoded after all they are cleared; and since suspects are
 * decoded one at a time, whoever takes down a second worker takes none of the other suspects with it.
 */
import type { Logger } from "pino";
import type { Db } from "../../src/db/transaction.ts";
import type { Run } from "../../src/jobs/job.ts";
import { DecoderLostError } from "./decoder/pool.ts";
import { PictureError, type PictureErrorCode } from "./decoder/protocol.ts";
import { countCrash, countLoss, noteTry, suspicionOf } from "./quarantine-store.ts";
import type { MediumRow } from "./store.ts";

type InHand = Pick<MediumRow, "id" | "sha256" | "in_hand_of" | "last_try">;

/** A name for a try, the same when it was put back. */
function tryOf({ id, attempt }: Pick<Run, "id" | "attempt">): string {
  return `${id}:${attempt}`;
}

/**
 * Begins a try: counts it, and says whether the medium may be decoded. One that is in hand still, by an earlier try, was cut off with its worker; in the
 * same try it was put back by a worker that lived, and that could not write down so.
 * @returns whether it is a suspect. @throws PictureError for one in quarantine.
 */
export async function beginTry(db: Db, medium: InHand, run: Pick<Run, "id" | "attempt">): Promise<boolean> {
  const tried = tryOf(run);
  // First, because a try that is noted already does not look again.
  if (medium.in_hand_of !== null && medium.last_try !== tried) await countLoss(db, medium.id);
  await noteTry(db, medium.id, tried);
  const suspicion = await suspicionOf(db, medium.sha256);
  if (suspicion?.quarantined) throw new PictureError("PICTURE_QUARANTINED", suspicion.reason);
  return suspicion !== undefined;
}

/** Counts what a failed try cost. @returns what it is to be called: the error itself, or that it was once too often. */
export async function judgeFailure(db: Db, medium: InHand, error: unknown, log: Logger): Promise<unknown> {
  if (!(error instanceof DecoderLostError)) return error;
  const { quarantined } = await countCrash(db, medium.sha256, `${error.code}: ${error.detail}`.slice(0, 300));
  const sha256 = medium.sha256.toString("hex");
  log.warn({ err: error, medium_id: medium.id, sha256, quarantined }, "a file cost its decoder");
  return quarantined ? new PictureError("PICTURE_QUARANTINED", error.detail) : error;
}

/** The last worker that had the medium is gone, and no other will take it. @returns the code of its failure. */
export async function judgeLoss(db: Db, mediumId: string): Promise<PictureErrorCode> {
  const suspicion = await countLoss(db, mediumId);
  return suspicion?.quarantined ? "PICTURE_QUARANTINED" : "DECODER_CRASHED";
}
