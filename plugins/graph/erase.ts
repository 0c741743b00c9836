import type { Context } from "../../src/context.ts";
import { inTransaction, type Tx } from "../../src/db/transaction.ts";
import { lockAccounts } from "../accounts/index.ts";
import { addToFollowCounts, BATCH, deleteRelations, type End, READ, RELATIONS, someOthers } from "./bulk-store.ts";

type Kind = keyof typeof RELATIONS;

/**
 * Ends all relations of the account, in both directions, each as if one of the two had ended it: counters are kept, and
 * everybody who keeps something by events is told. No new ones begin, since nobody finds an account that is being deleted.
 */
export async function eraseGraph(
  context: Pick<Context, "db" | "emit">,
  userId: string,
  signal: AbortSignal,
): Promise<void> {
  for (const kind of Object.keys(RELATIONS) as Kind[]) {
    for (const end of ["from", "to"] as const) await eraseRelations(context, userId, { kind, end, signal });
  }
}

async function eraseRelations(
  { db, emit }: Pick<Context, "db" | "emit">,
  userId: string,
  { kind, end, signal }: { kind: Kind; end: End; signal: AbortSignal },
): Promise<void> {
  for (;;) {
    const others = await someOthers(db, RELATIONS[kind], { userId, end, limit: READ });
    if (others.length === 0) return;
    while (others.length > 0) {
      signal.throwIfAborted();
      const batch = others.splice(-BATCH);
      await inTransaction(db, async (tx) => {
        await lockAccounts(tx, [userId, ...batch]);
        const gone = await deleteRelations(tx, RELATIONS[kind], { userId, end, others: batch });
        const counted = gone.filter((one) => one.counted).map(({ id }) => id);
        await addToFollowCounts(tx, { userId, end, others: counted }, -1);
        for (const { id } of gone) {
          await tell(tx, { emit }, kind, end === "from" ? [userId, id] : [id, userId]);
        }
      });
    }
  }
}

async function tell(
  tx: Tx,
  { emit }: Pick<Context, "emit">,
  kind: Kind,
  [from, to]: readonly [string, string],
): Promise<void> {
  switch (kind) {
    case "follows":
      return emit(tx, "follow.ended", { follower_id: from, following_id: to, erased: true });
    case "requests":
      return emit(tx, "follow.request_ended", { follower_id: from, following_id: to });
    case "blocks":
      return emit(tx, "account.unblocked", { blocker_id: from, blocked_id: to, erased: true });
    case "closeFriends":
    case "storyHides":
      return emit(tx, "story_audience.changed", { owner_id: from, viewer_id: to, erased: true });
    case "mutes":
      return emit(tx, "account.unmuted", { muter_id: from, muted_id: to, erased: true });
  }
}
