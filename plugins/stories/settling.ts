import type { Context } from "../../src/context.ts";
import { inTransaction } from "../../src/db/transaction.ts";
import { isOutage } from "../../src/jobs/queue.ts";
import { lockMediumOfStory, unsettledMedia } from "./store.ts";
import { settleStory } from "./stories.ts";

/** Stories of one run; what is left is the next one's. */
const BATCH = 500;

/**
 * Brings stories in step with media that were settled where nobody told them: by a worker in which this feature is off, or
 * that is older than it. One that cannot be is logged, and is in the way of no other.
 * @returns how many it looked at. @throws at the end, where some could not be.
 */
export async function settleLeft(context: Context, signal: AbortSignal): Promise<number> {
  const media = await unsettledMedia(context.db, BATCH);
  let failed = 0;
  for (const mediumId of media) {
    signal.throwIfAborted();
    try {
      await settle(context, mediumId);
    } catch (error) {
      // That is so for the rest too.
      if (isOutage(error)) throw error;
      failed++;
      context.log.error({ err: error, medium_id: mediumId }, "a story could not be brought in step with its picture");
    }
  }
  if (failed > 0)
    throw new Error(`${failed} of ${media.length} stories could not be brought in step with their pictures`);
  return media.length;
}

async function settle(context: Context, mediumId: string): Promise<void> {
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
