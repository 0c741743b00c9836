import type { Config } from "../../src/config/schema.ts";
import { uploadsBusy } from "./errors.ts";

/** Seconds after which a refused client may ask again; a photo takes about as long. */
const RETRY_AFTER = 2;
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
