import limitTo from "p-limit";
import type { Progress } from "../../src/backup/progress.ts";
import { batchesOf } from "../../src/batches.ts";
import type { Db } from "../../src/db/transaction.ts";
import { MOST_LISTED } from "../../src/drivers/media/copying.ts";
import type { MediaStore } from "../../src/ports/media.ts";
import { knownObjects } from "./objects.ts";
import { standingOf } from "./standing.ts";

const BATCH = 200;
/** Objects that are asked for at once: of a store far away, each is a wait. */
const AT_ONCE = 8;

/**
 * Looks for every object that a row stands for. Whatever is not there is looked for once more before it is told, so that
 * what is removed meanwhile is not missing.
 * @returns how many the store does not have, or not in the size that their row says, and the first MOST_LISTED of their keys.
 * @throws DependencyError when the store, or Postgres, is not there.
 */
export async function missingIn(
  store: MediaStore,
  { db, signal, progress }: { db: Db; signal: AbortSignal; progress: Progress },
): Promise<{ missing: number; keys: string[] }> {
  const keys: string[] = [];
  let [missing, looked] = [0, 0];
  const limit = limitTo(AT_ONCE);
  const lacking = (objects: readonly { key: string; bytes: number | null }[]) =>
    limit
      .map(objects, async ({ key, bytes }) => ((await store.size(key)) === bytes ? [] : [key]))
      .then((found) => found.flat());

  for await (const batch of batchesOf(knownObjects(db), BATCH)) {
    signal.throwIfAborted();
    const suspects = await lacking(batch);
    const still = [...(await standingOf(db, suspects))].flatMap(([key, standing]) =>
      standing.state === "needed" ? [{ key, bytes: standing.bytes }] : [],
    );
    for (const key of await lacking(still)) {
      missing += 1;
      if (keys.length < MOST_LISTED) keys.push(key);
    }
    looked += batch.length;
    progress(`looking for what the rows know: ${looked} objects, ${missing} missing`);
  }
  return { missing, keys };
}
