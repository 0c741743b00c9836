import { sql } from "kysely";
import { type Counter, lookOf } from "../../src/counters.ts";
import { leftoverCounter, likeCountOf } from "../posts/index.ts";
import { addToLikeCounts, lockLog } from "./log-store.ts";

const LIKES = sql`(SELECT count(*)::int FROM likes WHERE likes.post_id = posts.id)`;

export const likeCounters: readonly Counter[] = [
  {
    name: "posts.like_count",
    // A like changes the rows and the log in one statement, a roll-up the log and the count in one transaction: in every
    // snapshot the sum is right.
    async look(db, { after, limit }) {
      const { rows } = await sql<{ id: string; kept: number; actual: number }>`
        SELECT id, ${likeCountOf("posts.id")} AS kept, ${LIKES} AS actual FROM posts
        WHERE id > ${after}::uuid ORDER BY id LIMIT ${limit}`.execute(db);
      return lookOf(rows, limit);
    },
    // Nobody rolls up meanwhile; people like on, and what is missing does not change by that.
    async hold(tx, id) {
      await lockLog(tx);
      const { rows } = await sql<{ kept: number; actual: number }>`
        SELECT ${likeCountOf("posts.id")} AS kept, ${LIKES} AS actual FROM posts WHERE id = ${id}::uuid`.execute(tx);
      return rows[0] ?? null;
    },
    repair: (tx, id, { kept, actual }) => addToLikeCounts(tx, [{ post_id: id, delta: actual - kept }]),
  },
  leftoverCounter({ table: "likes", job: "likes.forget" }),
  leftoverCounter({ table: "like_counts", job: "likes.forget" }),
];
