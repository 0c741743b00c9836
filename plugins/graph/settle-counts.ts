import type { Context } from "../../src/context.ts";
import { type Db, inTransaction } from "../../src/db/transaction.ts";
import type { Position } from "../../src/http/paging.ts";
import { lockAccounts } from "../accounts/index.ts";
import { addToFollowCounts, BATCH, type End, miscounted, READ, settleFollows } from "./bulk-store.ts";

/**
 * Brings the counts of an account's follows into line with who is there: those between two active accounts are counted,
 * those of somebody who has vanished are not. Which way to go is not told but read behind the locks, so this may run
 * twice or at once, be killed anywhere and come late: each change of a state has a job of its own, and the last one
 * finds the state that stays. A follow that begins meanwhile is right from its beginning.
 */
export async function settleCounts({ db }: Pick<Context, "db">, userId: string, signal: AbortSignal): Promise<void> {
  for (const end of ["from", "to"] as const) await settleEnd(db, userId, { end, signal });
}

async function settleEnd(db: Db, userId: string, { end, signal }: { end: End; signal: AbortSignal }): Promise<void> {
  for (let after: Position | null | undefined = null; after !== undefined; ) {
    const page: Position[] = await miscounted(db, { userId, end, limit: READ, after });
    after = page.at(-1);
    while (page.length > 0) {
      signal.throwIfAborted();
      const others = page.splice(0, BATCH).map(({ id }) => id);
      await inTransaction(db, async (tx) => {
        await lockAccounts(tx, [userId, ...others]);
        const settled = await settleFollows(tx, { userId, end, others });
        const idsOf = (counted: boolean) => settled.filter((one) => one.counted === counted).map(({ id }) => id);
        await addToFollowCounts(tx, { userId, end, others: idsOf(true) }, 1);
        await addToFollowCounts(tx, { userId, end, others: idsOf(false) }, -1);
      });
    }
  }
}
