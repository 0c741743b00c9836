import { sql } from "kysely";
import { type Counter, lookOf, type Numbers } from "../../src/counters.ts";
import { settleCounts } from "./fold-store.ts";
import { lockInbox } from "./inbox-store.ts";

const NUMBERS = sql`
  SELECT id, actor_count AS kept,
         (SELECT count(*)::int FROM notification_actors WHERE notification_id = notifications.id AND counted AND NOT gone) AS actual
  FROM notifications`;

export const notificationCounters: readonly Counter[] = [
  {
    name: "notifications.actor_count",
    async look(db, { after, limit }) {
      const { rows } = await sql<Numbers & { id: string }>`
        ${NUMBERS} WHERE id > ${after}::uuid ORDER BY id LIMIT ${limit}`.execute(db);
      return lookOf(rows, limit);
    },
    async hold(tx, id) {
      const owner = await tx.selectFrom("notifications").select("user_id").where("id", "=", id).executeTakeFirst();
      // Of an account that is being deleted nothing is shown, and all of it goes.
      if (!owner || !(await lockInbox(tx, owner.user_id))) return null;
      const { rows } = await sql<Numbers>`${NUMBERS} WHERE id = ${id}::uuid`.execute(tx);
      return rows[0] ?? null;
    },
    repair: (tx, id, { kept, actual }) => settleCounts(tx, new Map([[id, actual - kept]])),
  },
];
