import type { Context } from "../../src/context.ts";
import type { Warning } from "../../src/feature.ts";
import { countDue, dueMoments } from "./cleanup-store.ts";
import { storiesOverdue } from "./metrics.ts";

/** Hours that a story which is due may wait: one for the clock of the cleanup, and one for its work. */
const LATE = 2;
/** Stories that are counted at most. */
const MOST = 10_001;

/** Looks how many stories no cleanup has taken though it should have, and sets the gauge. */
export async function overdueWarnings({ db, config }: Pick<Context, "db" | "config">): Promise<Warning[]> {
  const { lifetime, cleanup_grace } = config.stories;
  const moments = await dueMoments(db, { lifetime, grace: cleanup_grace + LATE * 3_600_000 });
  const [expired, failed] = await Promise.all(
    (["expired", "failed"] as const).map((kind) => countDue(db, kind, { moments, upTo: null, most: MOST })),
  );
  const overdue = Math.min((expired ?? 0) + (failed ?? 0), MOST);
  storiesOverdue.set(overdue);
  if (overdue === 0) return [];
  const many = overdue === MOST ? `more than ${MOST - 1} stories` : overdue === 1 ? "1 story" : `${overdue} stories`;
  return [
    {
      code: "STORIES_OVERDUE",
      message: `${many} should have been cleaned up more than ${LATE} hours ago; is a worker running? \`tintype stories cleanup\` does it now`,
    },
  ];
}
