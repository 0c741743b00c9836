import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { v7 as newId } from "uuid";
import type { Context } from "../../src/context.ts";
import { inTransaction, type Tx } from "../../src/db/transaction.ts";
import { keepAnswer } from "../../src/http/idempotency.ts";
import type { MediaStore } from "../../src/ports/media.ts";
import { requireActive } from "../accounts/index.ts";
import { downloadable, exportOf, replaceExport, replaceToken, withdraw } from "./store.ts";

/** What a person reads of their export. */
export interface ExportState {
  status: "none" | "processing" | "ready" | "failed";
  /** Where the file is to be had without further proof of who one is, and until when. Null unless it is ready. */
  url: string | null;
  expires_at: string | null;
}

/** Where the archive lies in the store. The end of a UUIDv7 is random: 256 folders. */
export function exportKey(id: string): string {
  return `exports/${id.slice(-2)}/${id}.zip`;
}

/**
 * Begins an export, unless one is under way or was finished within the last hour; an older one goes for the new one.
 * @returns how the one that there is now stands.
 */
export async function requestExport(context: Context, userId: string): Promise<"processing" | "ready"> {
  const { db, media, enqueue } = context;
  for (let begun = false; !begun; ) {
    const seen = await exportOf(db, userId);
    if (seen?.status === "processing") break;
    // To make one reads all that a person has: not at every push of a button.
    if (seen?.fresh && (await isStored(media, seen.id))) return "ready";
    // Before its row: as long as that is there, somebody knows of the object.
    if (seen) await media.remove([exportKey(seen.id)]);
    const id = newId();
    begun = await inTransaction(db, async (tx) => {
      await requireActive(tx, userId);
      if (!(await replaceExport(tx, { user_id: userId, id, token: newToken() }, seen?.id ?? null))) return false;
      await enqueue(tx, "exports.make", { export_id: id });
      await keepAnswer(tx, 202, { status: "processing" });
      return true;
    });
  }
  return "processing";
}

/**
 * Takes an export back, also one that is being made: its URL ends here, its row and object are removed by the sweep.
 * Idempotent.
 */
export async function withdrawExport({ db, enqueue }: Pick<Context, "db" | "enqueue">, userId: string): Promise<void> {
  await inTransaction(db, async (tx) => {
    if (await withdraw(tx, userId)) await enqueue(tx, "exports.sweep", {});
  });
}

/** Whoever has the old URL has nothing any more; the owner asks for the new one. */
export async function renewToken(tx: Tx, userId: string): Promise<void> {
  await replaceToken(tx, userId, newToken());
}

export async function exportState({ config, db, media }: Context, userId: string): Promise<ExportState> {
  const row = await exportOf(db, userId);
  const none = { status: "none", url: null, expires_at: null } as const;
  if (!row || row.expired) return none;
  if (row.status !== "ready") return { status: row.status, url: null, expires_at: null };
  if (!(await isStored(media, row.id))) return none;
  return {
    status: row.status,
    url: `${config.public_url}/exports/${row.id}/${row.token}.zip`,
    expires_at: row.expires_at?.toISOString() ?? null,
  };
}

/** The file of an export, for whoever knows its token. */
export async function openExport(
  { db, media }: Pick<Context, "db" | "media">,
  id: string,
  token: string,
): Promise<{ key: string; bytes: number; name: string } | null> {
  const row = await downloadable(db, id);
  if (!row || !timingSafeEqual(digest(row.token), digest(token)) || !(await isStored(media, id))) return null;
  const day = row.finished_at.toISOString().slice(0, 10);
  return { key: exportKey(id), bytes: row.bytes, name: `tintype-${row.username}-${day}.zip` };
}

/** Not where a row came back by a backup, which holds no archives, or what was to replace it could not be begun. */
async function isStored(media: MediaStore, id: string): Promise<boolean> {
  return (await media.size(exportKey(id))) !== null;
}

function newToken(): string {
  return randomBytes(32).toString("base64url");
}

/** So that both are of one length, and the comparison tells nothing. */
function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
