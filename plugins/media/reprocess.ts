import { setTimeout as delay } from "node:timers/promises";
import { sql } from "kysely";
import limitTo from "p-limit";
import { NIL } from "uuid";
import type { Progress } from "../../src/backup/progress.ts";
import type { Context } from "../../src/context.ts";
import { type Db, inTransaction } from "../../src/db/transaction.ts";
import { firstIdOf } from "./catalogue.ts";
import { originalKey } from "./keys.ts";
import type { Purpose } from "./store.ts";

const BATCH = 200;
/** Looks at the store at once. */
const AT_ONCE = 8;
/** Behind every upload, which has 0. */
const PRIORITY = -10;
/** Jobs that may wait at a time: the queue counts all of its jobs every few seconds. */
const MOST_WAITING = 10_000;
/** Milliseconds between two looks at how many wait. */
const LOOK = 1_000;

export interface Reprocessing {
  /** With a dry run those that would be. */
  enqueued: number;
  skipped: {
    /** Its original was given up (media.originals = drop). */
    original_dropped: number;
    /** Its original is not in the store, though it should be: `media verify` names it. */
    original_missing: number;
    /** It has a job already. */
    under_way: number;
  };
  duration_ms: number;
}

export interface Selection {
  ownerId: string | null;
  kind: Purpose | null;
  since: Date | null;
  /** Those that have failed, instead of those that are ready. */
  failed: boolean;
}

/**
 * Has renditions made again of originals that are there, behind all uploads. Ready media are shown as they are until the
 * new ones are there. It may be ended at any moment and run again, also twice at once.
 * @param options.limit media that are enqueued at most.
 */
export async function reprocessMedia(options: {
  context: Context;
  selection: Selection;
  limit: number;
  dryRun: boolean;
  signal: AbortSignal;
  progress: Progress;
}): Promise<Reprocessing> {
  const { context, selection, limit, dryRun, signal, progress } = options;
  const started = performance.now();
  const skipped = { original_dropped: 0, original_missing: 0, under_way: 0 };
  let enqueued = 0;
  for (let after: string = NIL; enqueued < limit; ) {
    signal.throwIfAborted();
    const page = await candidates(context.db, selection, after);
    const last = page.at(-1);
    if (last === undefined) break;
    after = last.id;
    const kept = page.filter(({ dropped }) => !dropped);
    skipped.original_dropped += page.length - kept.length;
    const sizes = await limitTo(AT_ONCE).map(kept, ({ id }) => context.media.size(originalKey(id)));
    const there = kept.filter((_, index) => sizes[index] !== null).map(({ id }) => id);
    skipped.original_missing += kept.length - there.length;
    const fresh = await enqueueAgain(context, there, { most: limit - enqueued, dryRun });
    skipped.under_way += fresh.under_way;
    enqueued += fresh.enqueued;
    progress(`media: ${enqueued} ${dryRun ? "found" : "enqueued"}`);
    if (!dryRun) await untilFewWait(context.db, signal, progress);
  }
  return { enqueued, skipped, duration_ms: Math.round(performance.now() - started) };
}

async function candidates(db: Db, selection: Selection, after: string): Promise<{ id: string; dropped: boolean }[]> {
  const { ownerId, kind, since, failed } = selection;
  const { rows } = await sql<{ id: string; dropped: boolean }>`
    SELECT id, original_dropped_at IS NOT NULL AS dropped FROM media
    WHERE state = ${sql.lit(failed ? "failed" : "ready")} AND id > ${after}::uuid
      ${ownerId === null ? sql`` : sql`AND owner_id = ${ownerId}`}
      ${kind === null ? sql`` : sql`AND purpose = ${kind}`}
      ${since === null ? sql`` : sql`AND created_at >= ${since} AND id >= ${firstIdOf(since)}::uuid`}
    ORDER BY id LIMIT ${BATCH}`.execute(db);
  return rows;
}

/** Those that have no job get one. Of several commands at once, one after the other looks and enqueues. */
async function enqueueAgain(
  { db, enqueue }: Pick<Context, "db" | "enqueue">,
  ids: readonly string[],
  { most, dryRun }: { most: number; dryRun: boolean },
): Promise<{ enqueued: number; under_way: number }> {
  return inTransaction(db, async (tx) => {
    await sql`SELECT pg_advisory_xact_lock(hashtextextended('media.reprocess', 0))`.execute(tx);
    const { rows } = await sql<{ id: string }>`
      SELECT data->>'medium_id' AS id FROM pgboss.job
      WHERE name = 'media.process' AND state IN ('created', 'retry', 'active') AND data->>'medium_id' = ANY(${ids})`.execute(
      tx,
    );
    const working = new Set(rows.map(({ id }) => id));
    const idle = ids.filter((id) => !working.has(id));
    const chosen = idle.slice(0, most);
    if (!dryRun) {
      for (const id of chosen)
        await enqueue(tx, "media.process", { medium_id: id, again: true }, { priority: PRIORITY });
    }
    return { enqueued: chosen.length, under_way: ids.length - idle.length };
  });
}

async function untilFewWait(db: Db, signal: AbortSignal, progress: Progress): Promise<void> {
  for (;;) {
    const { rows } = await sql<{ n: number }>`
      SELECT count(*)::int AS n FROM pgboss.job
      WHERE name = 'media.process' AND state IN ('created', 'retry')`.execute(db);
    const waiting = rows[0]?.n ?? 0;
    if (waiting < MOST_WAITING) return;
    progress(`waiting: ${waiting} jobs are still to be done`);
    await delay(LOOK, undefined, { signal }).catch(() => undefined);
    signal.throwIfAborted();
  }
}
