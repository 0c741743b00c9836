import { type Static, Type } from "typebox";
import { v7 as newId } from "uuid";
import { isBackupRunning } from "../../src/backup/lease.ts";
import type { Context } from "../../src/context.ts";
import { type Db, inTransaction, type Tx } from "../../src/db/transaction.ts";
import { DependencyError } from "../../src/errors.ts";
import { Nullable } from "../../src/http/paging.ts";
import { NotYetError } from "../../src/jobs/job.ts";
import type { MediaUrls } from "../tickets/index.ts";
import type { RenditionName } from "./decoder/protocol.ts";
import { pictureQuarantined } from "./errors.ts";
import { objectKeys, originalKey, renditionFolder } from "./keys.ts";
import { deletePending, lockPending, notePending, settlePending } from "./pending-store.ts";
import { quarantinedOf } from "./quarantine-store.ts";
import { requireRoom } from "./quota.ts";
import {
  forgottenRemovals,
  insertMedium,
  type MediumRow,
  markRemoved,
  type Purpose,
  takeOwnerlessLetters,
} from "./store.ts";
import type { StagedPicture } from "./upload.ts";

declare module "../../src/events.ts" {
  interface Events {
    "media.ready": { medium_id: string };
    "media.failed": { medium_id: string; code: string; message: string };
  }
}

/** A picture as it stands in a post. The URLs are null until it has been processed. */
export const Medium = Type.Object({
  id: Type.String(),
  type: Type.Union([Type.Literal("image"), Type.Literal("video")]),
  alt_text: Nullable(Type.String()),
  width: Nullable(Type.Integer()),
  height: Nullable(Type.Integer()),
  duration: Nullable(Type.Number()),
  thumbhash: Nullable(Type.String()),
  thumbnail_url: Nullable(Type.String()),
  small_url: Nullable(Type.String()),
  medium_url: Nullable(Type.String()),
  large_url: Nullable(Type.String()),
  video_url: Nullable(Type.String()),
});
export type Medium = Static<typeof Medium>;

/** Characters that an alt text has at most. */
export const ALT_TEXT_LENGTH = 1_000;

/** The columns that `toMedium` needs. */
export type ShownMedium = Pick<MediumRow, "id" | "state" | "alt_text" | "width" | "height" | "thumbhash">;

/** @param ticketed whether the owner's account is not public, so that whoever looks must be somebody. */
export function toMedium(row: ShownMedium, ticketed: boolean, urls: MediaUrls): Medium {
  const url = (name: RenditionName) => (row.state === "ready" ? urls.rendition(row.id, name, ticketed) : null);
  return {
    id: row.id,
    type: "image",
    alt_text: row.alt_text,
    width: row.width,
    height: row.height,
    duration: null,
    thumbhash: row.thumbhash,
    thumbnail_url: url("thumbnail"),
    small_url: url("small"),
    medium_url: url("medium"),
    large_url: url("large"),
    video_url: null,
  };
}

/** An original that lies in the store and has no row yet. */
export interface StoredOriginal extends StagedPicture {
  id: string;
}

/**
 * Moves staged pictures into the store: they are durable when this resolves. Those of an upload that gets no further are
 * taken back, at once or by the sweeper: see pending-store.ts.
 * @throws 422 for a picture that is in quarantine.
 */
export async function storeOriginals(
  context: Pick<Context, "db" | "media" | "log">,
  pictures: readonly StagedPicture[],
): Promise<StoredOriginal[]> {
  await refuseQuarantined(context.db, pictures);
  const originals = pictures.map((picture) => ({ ...picture, id: newId() }));
  await notePending(
    context.db,
    originals.map(({ id }) => id),
  );
  const outcomes = await Promise.allSettled(
    originals.map(({ id, path }) => context.media.putFile(originalKey(id), path)),
  );
  const failed = outcomes.find((outcome) => outcome.status === "rejected");
  if (failed) {
    // A store that took none of them is not asked once more: whoever uploads waits for the answer.
    await discardOriginals(
      context,
      originals.filter((_, index) => outcomes[index]?.status === "fulfilled"),
    );
    throw failed.reason;
  }
  return originals;
}

async function refuseQuarantined(db: Db, pictures: readonly StagedPicture[]): Promise<void> {
  const hashes = pictures.map(({ sha256 }) => sha256);
  const [refused] = await quarantinedOf(db, hashes);
  if (!refused) return;
  const position = 1 + hashes.findIndex((hash) => hash.equals(refused));
  throw pictureQuarantined({ position }, { details: { position, sha256: refused.toString("hex") } });
}

/**
 * Takes originals back whose rows were not written. Of a commit whose answer was lost nobody knows how it ended, so it
 * is the note that decides: who holds it knows that there is no row, and will be none. What cannot be taken back now is
 * taken by the sweeper.
 */
export async function discardOriginals(
  { db, media, log }: Pick<Context, "db" | "media" | "log">,
  originals: readonly StoredOriginal[],
): Promise<void> {
  if (originals.length === 0) return;
  try {
    await inTransaction(db, async (tx) => {
      const ids = await lockPending(
        tx,
        originals.map(({ id }) => id),
      );
      if (ids.length === 0) return;
      await media.remove(ids.map(originalKey));
      await deletePending(tx, ids);
    });
  } catch (error) {
    log.warn({ err: error, media: originals.map(({ id }) => id) }, "originals without a row wait for the sweeper");
  }
}

/** What is said of the originals of one upload. */
export interface NewMedia {
  originals: readonly StoredOriginal[];
  owner_id: string;
  /** Decides who may see them. */
  purpose: Purpose;
  /** In the order of the originals; one that is not there is null. */
  alt_texts?: readonly (string | null)[];
}

/**
 * Writes the rows of stored originals and enqueues their processing. The caller holds the account.
 * @throws 422 QUOTA_EXCEEDED
 */
export async function createMedia(
  tx: Tx,
  { config, enqueue }: Pick<Context, "config" | "enqueue">,
  { originals, owner_id, purpose, alt_texts = [] }: NewMedia,
): Promise<void> {
  const total = originals.reduce((sum, { bytes }) => sum + bytes, 0);
  await requireRoom(tx, config, owner_id, total);
  for (const [index, { id, content_type, bytes, sha256 }] of originals.entries()) {
    if (!(await settlePending(tx, id))) {
      throw new DependencyError("the upload took so long that its original was swept");
    }
    const alt_text = alt_texts[index] ?? null;
    await insertMedium(tx, { id, content_type, bytes, sha256, owner_id, purpose, alt_text });
    await enqueue(tx, "media.process", { medium_id: id });
  }
}

/** Takes media away: at once for everybody, their objects by a job. */
export async function removeMedia(
  tx: Tx,
  { enqueue }: Pick<Context, "enqueue">,
  ids: readonly string[],
): Promise<void> {
  if (ids.length === 0) return;
  await markRemoved(tx, ids);
  for (const id of ids) await enqueue(tx, "media.remove", { medium_id: id });
}

/**
 * Takes media away that are shown no more, all of it by jobs: in the order of locks media come before accounts, so whoever
 * holds an account must not touch them.
 */
export async function retireMedia(
  tx: Tx,
  { enqueueAll }: Pick<Context, "enqueueAll">,
  ids: readonly (string | null)[],
): Promise<void> {
  const media = ids.flatMap((id) => id ?? []);
  await enqueueAll(
    tx,
    "media.remove",
    media.map((medium_id) => ({ medium_id })),
  );
}

/** Of one look; what is left is seen a minute later. */
const RESUMED = 500;

/** Enqueues removals again that nobody has in hand any more, also of media whose rows are gone. @returns how many. */
export async function resumeRemovals({ db, enqueue }: Pick<Context, "db" | "enqueue">): Promise<number> {
  return inTransaction(db, async (tx) => {
    const ids = [...(await forgottenRemovals(tx, RESUMED)), ...(await takeOwnerlessLetters(tx, RESUMED))];
    for (const id of ids) await enqueue(tx, "media.remove", { medium_id: id });
    return ids.length;
  });
}

/** How soon a removal that waits for a backup asks again. */
const REMOVAL_WAIT_SECONDS = 10;

/**
 * Removes every object that the media can have. Their rows must be `removed`, or gone, by a transaction that has been
 * committed: only then does the look at the lease say what it must, see src/backup/lease.ts.
 * @throws NotYetError while a backup may still have to read them.
 */
export async function removeObjects(
  { db, media }: Pick<Context, "db" | "media">,
  ...mediumIds: readonly string[]
): Promise<void> {
  if (await isBackupRunning(db)) throw new NotYetError("a backup is running", REMOVAL_WAIT_SECONDS);
  const keys = new Set(mediumIds.flatMap(objectKeys));
  // Of renditions that were made again, also by tries that were killed.
  for (const id of mediumIds) for await (const { key } of media.list(renditionFolder(id))) keys.add(key);
  await media.remove([...keys]);
}
