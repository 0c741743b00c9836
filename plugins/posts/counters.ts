import { sql } from "kysely";
import { type Counter, lookOf } from "../../src/counters.ts";
import { addToCounter, lockAccounts } from "../accounts/index.ts";

const PUBLISHED = sql`(SELECT count(*)::int FROM posts WHERE user_id = users.id AND status = 'published')`;

export const postCounters: readonly Counter[] = [
  {
    name: "users.post_count",
    async look(db, { after, limit }) {
      const { rows } = await sql<{ id: string; kept: number; actual: number }>`
        SELECT id, post_count AS kept, ${PUBLISHED} AS actual FROM users
        WHERE id > ${after}::uuid ORDER BY id LIMIT ${limit}`.execute(db);
      return lookOf(rows, limit);
    },
    async hold(tx, id) {
      await lockAccounts(tx, [id]);
      const { rows } = await sql<{ kept: number; actual: number }>`
        SELECT post_count AS kept, ${PUBLISHED} AS actual FROM users WHERE id = ${id}::uuid`.execute(tx);
      return rows[0] ?? null;
    },
    repair: (tx, id, { kept, actual }) => addToCounter(tx, id, "post_count", actual - kept),
  },
];
