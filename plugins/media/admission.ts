import { statfs } from "node:fs/promises";
import type { Config } from "../../src/config/schema.ts";
import { DependencyError } from "../../src/errors.ts";
import { inStaging } from "../../src/staging.ts";
import { uploadsBusy } from "./errors.ts";

/** Seconds after which a refused client may ask again; a photo takes about as long. */
const RETRY_AFTER = 2;
/** Bytes that uploads leave free: renditions need some, and an embedded Postgres on the same disk stops without any. */
const SPARE = 256 * 1024 * 1024;

const uploadsOf = new Map<string, number>();
let uploads = 0;

/**
 * Takes a place for an upload. @returns what gives it back; to be called once the upload has left staging, and without
 * effect when it is called again. @throws 503 when all places are taken.
 */
export function admitUpload(
  accountId: string,
  limits: Pick<Config["media"], "uploads" | "uploads_per_account">,
): () => void {
  const own = uploadsOf.get(accountId) ?? 0;
  if (uploads >= limits.uploads || own >= limits.uploads_per_account)
    throw uploadsBusy({}, { retryAfter: RETRY_AFTER });
  uploads++;
  uploadsOf.set(accountId, own + 1);
  let taken = true;
  return () => {
    if (!taken) return;
    taken = false;
    uploads--;
    const left = (uploadsOf.get(accountId) ?? 1) - 1;
    if (left > 0) uploadsOf.set(accountId, left);
    else uploadsOf.delete(accountId);
  };
}

/**
 * Asked before the first byte is read: an upload that fills the disk would fail for all that are under way.
 * @throws DependencyError when the disk of `folder` has not so many bytes to spare.
 */
export async function assertSpace(folder: string, bytes: number): Promise<void> {
  const { bavail, bsize, blocks } = await inStaging(() => statfs(folder));
  // Some file systems cannot tell.
  if (blocks === 0 || bavail * bsize >= bytes + SPARE) return;
  throw new DependencyError(`the disk of ${folder} is nearly full: ${bavail * bsize} bytes are free`, {
    hint: "Make space on it, or give the data dir a larger disk.",
  });
}
