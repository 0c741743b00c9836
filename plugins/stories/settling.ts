import type { Context } from "../../src/context.ts";
import { inTransaction } from "../../src/db/transaction.ts";
import { isOutage } from "../../src/jobs/queue.ts";
import { lockMediumToSettle, type Unsettled, unsettledMedia } from "./store.ts";
import { settleStory } from "./stories.ts";

/** Stories of one read. */
const BATCH = 500;

/**
 * Brings stories in step with media that were settled where nobody told them: by a worker in which this feature is off, or
 * that is older than it. One that cannot be is logged, and is in the way of no other.
 * @returns how many it looked at. @throws at the end, where some could not be.
 */
export async function settleLeft(context: Context, signal: AbortSignal): Promise<number> {
  let [looked, failed] = [0, 0];
  for (let page: Unsettled[] | null = null; page === null || page.length === BATCH; ) {
    page = await unsettledMedia(context.db, { limit: BATCH, after: page?.at(-1) ?? null });
    for (const { medium_id } of page) {
      signal.throwIfAborted();
      try {
        await settle(context, medium_id);
      } catch (error) {
        // That is so for the rest too.
        if (isOutage(error)) throw error;
        failed++;
        context.log.error({ err: error, medium_id }, "a story could not be brought in step with its picture");
      }
    }
    looked += page.length;
  }
  if (failed > 0) throw new Error(`${failed} of ${looked} stories could not be brought in step with their pictures`);
  return looked;
}

async function settle(context: Context, mediumId: string): Promise<void> {
  await inTransaction(context.db, async (tx) => {
    // The medium, then the story: the order in which publishing takes them.
    const medium = await lockMediumToSettle(tx, mediumId);
    if (medium?.state === "ready") await settleStory(tx, context, mediumId, null);
    if (medium?.state === "failed") {
      const { failure_code, failure_message } = medium;
      await settleStory(tx, context, mediumId, { code: failure_code ?? "", message: failure_message ?? "" });
    }
  });
}
