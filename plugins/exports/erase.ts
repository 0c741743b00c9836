import type { Context } from "../../src/context.ts";
import { untilNotInHand } from "../../src/jobs/in-hand.ts";
import { exportKey } from "./exports.ts";
import { removeStaged } from "./staging.ts";
import { deleteExport, exportOf, markFailed } from "./store.ts";

/** Removes the account's export. One that is being made is given up, which its maker notices within seconds. */
export async function eraseExports(
  { config, db, media }: Pick<Context, "config" | "db" | "media">,
  userId: string,
  signal: AbortSignal,
): Promise<void> {
  const row = await exportOf(db, userId);
  if (!row) return;
  await markFailed(db, row.id);
  await untilNotInHand(db, "exports.make", { field: "export_id", ids: [row.id], signal });
  await removeStaged(config, async () => new Set([row.id]));
  await media.remove([exportKey(row.id)]);
  await deleteExport(db, row.id);
}
