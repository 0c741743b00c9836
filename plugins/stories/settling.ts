import type { Context } from "../../src/context.ts";
import { inTransaction } from "../../src/db/transaction.ts";
import { lockMediumOfStory, unsettledMedia } from "./store.ts";
import { settleStory } from "./stories.ts";

/** Stories of one run; what is left is the next one's. */
const BATCH = 500;

/**
 * Brings stories in step with media that were settled where nobody told them: by a worker in which this feature is off, or
 * that is older than it.
 * @returns how many it looked at.
 */
export async function settleLeft(context: Context, signal: AbortSignal): Promise<number> {
  const media = await unsettledMedia(context.db, BATCH);
  for (const mediumId of media) {
    signal.throwIfAborted();
    await inTransaction(context.db, async (tx) => {
      // The medium, then the story: the order in which publishing takes them.
      const medium = await lockMediumOfStory(tx, mediumId);
      if (medium?.state === "ready") await settleStory(tx, context, mediumId, null);
      if (medium?.state === "failed") {
        const { failure_code, failure_message } = medium;
        await settleStory(tx, context, mediumId, { code: failure_code ?? "", message: failure_message ?? "" });
      }
    });
  }
  return media.length;
}
