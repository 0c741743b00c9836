import { sql } from "kysely";
import { type Counter, lookOf } from "../../src/counters.ts";
import { addToCounter, lockAccounts } from "../accounts/index.ts";

/** Of follows that are counted: not of those between an account and one that has vanished, see settle-counts.ts. */
export const graphCounters: readonly Counter[] = [
  followCounter("follower_count", "following_id"),
  followCounter("following_count", "follower_id"),
];

function followCounter(column: "follower_count" | "following_count", own: "following_id" | "follower_id"): Counter {
  const kept = sql.ref(`users.${column}`);
  const actual = sql`(SELECT count(*)::int FROM follows WHERE ${sql.ref(own)} = users.id AND counted)`;
  return {
    name: `users.${column}`,
    async look(db, { after, limit }) {
      const { rows } = await sql<{ id: string; kept: number; actual: number }>`
        SELECT id, ${kept} AS kept, ${actual} AS actual FROM users
        WHERE id > ${after}::uuid ORDER BY id LIMIT ${limit}`.execute(db);
      return lookOf(rows, limit);
    },
    async hold(tx, id) {
      await lockAccounts(tx, [id]);
      const { rows } = await sql<{ kept: number; actual: number }>`
        SELECT ${kept} AS kept, ${actual} AS actual FROM users WHERE id = ${id}::uuid`.execute(tx);
      return rows[0] ?? null;
    },
    repair: (tx, id, { kept, actual }) => addToCounter(tx, id, column, actual - kept),
  };
}
