import { sql } from "kysely";
import { v4 as randomId } from "uuid";
import type { Db } from "../../src/db/transaction.ts";

/** A rebuild that was begun, and how far it got. */
export interface RebuildRun {
  run_id: string;
  started_at: Date;
  /** All accounts up to this one are done; null at the beginning. */
  after_id: string | null;
  rebuilt: number;
}

/** The one that has not come to its end; none if what it built is void. */
export async function unfinishedRebuild(db: Db, epoch: string): Promise<RebuildRun | undefined> {
  return db
    .selectFrom("timeline_rebuilds")
    .select(["run_id", "started_at", "after_id", "rebuilt"])
    .where("epoch", "=", epoch)
    .executeTakeFirst();
}

/** Begins one, in place of any other: those that are under way are no longer noted. */
export async function beginRebuild(db: Db, epoch: string): Promise<RebuildRun> {
  const run = { run_id: randomId(), epoch, started_at: sql<Date>`now()`, after_id: null, rebuilt: 0 };
  return db
    .insertInto("timeline_rebuilds")
    .values(run)
    .onConflict((conflict) => conflict.column("singleton").doUpdateSet(run))
    .returning(["run_id", "started_at", "after_id", "rebuilt"])
    .executeTakeFirstOrThrow();
}

/** Notes how far it is. Of two processes at one run the one that is farther decides: both began where all was done. */
export async function noteRebuild(db: Db, runId: string, place: { after_id: string; rebuilt: number }): Promise<void> {
  await db
    .updateTable("timeline_rebuilds")
    .set({ after_id: place.after_id, rebuilt: sql`rebuilt + ${place.rebuilt}` })
    .where("run_id", "=", runId)
    .where((row) => row.or([row("after_id", "is", null), row("after_id", "<", place.after_id)]))
    .execute();
}

export async function endRebuild(db: Db, runId: string): Promise<void> {
  await db.deleteFrom("timeline_rebuilds").where("run_id", "=", runId).execute();
}

/** How many accounts come after this one. */
export async function countAccounts(db: Db, after: string | null): Promise<number> {
  const row = await db
    .selectFrom("users")
    .select((users) => users.fn.countAll<number>().as("count"))
    .$if(after !== null, (query) => query.where("id", ">", after))
    .executeTakeFirstOrThrow();
  return Number(row.count);
}

/** The next accounts by id that are not being deleted, and whether they were seen within the days that a timeline lives. */
export async function nextAccounts(
  db: Db,
  after: string | null,
  limit: number,
): Promise<{ id: string; seen: boolean }[]> {
  const { rows } = await sql<{ id: string; seen: boolean }>`
    SELECT id, EXISTS (
      SELECT FROM sessions WHERE user_id = users.id AND last_used_at > now() - interval '7 days'
    ) AS seen
    FROM users WHERE state <> 'deleting' ${after === null ? sql`` : sql`AND id > ${after}::uuid`}
    ORDER BY id LIMIT ${limit}`.execute(db);
  return rows;
}
