import type { Context } from "../../src/context.ts";
import { inTransaction } from "../../src/db/transaction.ts";
import { defineJob } from "../../src/jobs/job.ts";

declare module "../../src/jobs/job.ts" {
  interface JobData {
    /** `again`: make renditions of one that is ready too. */
    "media.process": { medium_id: string; again?: boolean };
    "media.remove": { medium_id: string };
    /** Objects of a medium that goes on without them. */
    "media.discard": { medium_id: string; keys: string[] };
    "media.sweep": Record<never, never>;
    "media.sweep_store": Record<never, never>;
  }
}

/**
 * What one try may take: twice the longest `media.decode_timeout` (2 min), once for the file before it in the same
 * decoder and once for its own, and a minute to store the renditions. The queue keeps what `migrate` wrote there, so it
 * must hold for every configuration.
 */
const PROCESS_SECONDS = 2 * 120 + 60;

export const processJob = defineJob<Context, "media.process">({
  name: "media.process",
  attempts: 3,
  // Twice the decoders, so that the next file is at hand when one is done, and one for the side lane.
  concurrency: ({ config }) => config.worker.concurrency * 2 + 1,
  urgent: true,
  expireSeconds: PROCESS_SECONDS,
  async open(context) {
    const { config, log } = context;
    const [{ createDecoderPool }, { processMedium }] = await Promise.all([
      import("./decoder/pool.ts"),
      import("./process.ts"),
    ]);
    const pool = createDecoderPool({
      size: config.worker.concurrency,
      timeoutMs: config.media.decode_timeout,
      maxPixels: config.media.max_pixels,
      maxRssBytes: config.media.decoder_memory,
      log,
    });
    return {
      handle: ({ medium_id, again = false }, run) => processMedium(context, pool, { id: medium_id, again }, run),
      close: () => pool.close(),
    };
  },
});

/** Rows go last: as long as one is there, somebody knows of the objects. */
export const removeJob = defineJob<Context, "media.remove">({
  name: "media.remove",
  attempts: 10,
  concurrency: () => 2,
  urgent: false,
  expireSeconds: 60,
  async open(context) {
    const [{ removeObjects }, { deleteMedium, markRemoved }] = await Promise.all([
      import("./media.ts"),
      import("./store.ts"),
    ]);
    return {
      async handle({ medium_id }) {
        // Of one that was retired, which whoever enqueued this could not do.
        await inTransaction(context.db, (tx) => markRemoved(tx, [medium_id]));
        await removeObjects(context, medium_id);
        await deleteMedium(context.db, medium_id);
      },
    };
  },
});

export const discardJob = defineJob<Context, "media.discard">({
  name: "media.discard",
  attempts: 10,
  concurrency: () => 1,
  urgent: false,
  expireSeconds: 60,
  async open(context) {
    const { discardObjects } = await import("./renew.ts");
    return { handle: ({ keys }) => discardObjects(context, keys) };
  },
});

/** What killed processes left behind: originals without a row, and media that nobody works on any more. */
export const sweepJob = defineJob<Context, "media.sweep">({
  name: "media.sweep",
  attempts: 1,
  concurrency: () => 1,
  urgent: false,
  expireSeconds: 60,
  schedule: "* * * * *",
  async open(context) {
    const [{ failAbandoned }, { sweepPending }, { resumeRemovals }, { sweepCrashes }] = await Promise.all([
      import("./process.ts"),
      import("./pending.ts"),
      import("./media.ts"),
      import("./quarantine-store.ts"),
    ]);
    return {
      async handle(_data, { log }) {
        const failed = await failAbandoned(context);
        const originals = await sweepPending(context);
        const removals = await resumeRemovals(context);
        await sweepCrashes(context.db);
        if (failed + originals + removals > 0)
          log.info({ failed_media: failed, originals, removals }, "leftovers swept");
      },
    };
  },
});

/** Milliseconds after which no put is under way any more. */
const PUT_MAX_AGE = 24 * 3_600_000;

/** Half-made puts, which only the store itself can see. It may have to look through all that it has, so once a night. */
export const sweepStoreJob = defineJob<Context, "media.sweep_store">({
  name: "media.sweep_store",
  attempts: 2,
  concurrency: () => 1,
  urgent: false,
  expireSeconds: 3_600,
  schedule: "23 4 * * *",
  async open({ media }) {
    return {
      async handle(_data, { log }) {
        const parts = await media.sweep(PUT_MAX_AGE);
        if (parts > 0) log.info({ parts }, "half-made puts swept");
      },
    };
  },
});
