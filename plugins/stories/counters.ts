import { sql } from "kysely";
import { type Counter, lookOf } from "../../src/counters.ts";

const VIEWS = sql`(SELECT count(*)::int FROM story_views WHERE story_views.story_id = stories.id)`;

export const storyCounters: readonly Counter[] = [
  {
    name: "stories.view_count",
    // Not of removed ones: their views are taken away in parts, and nobody reads their number.
    async look(db, { after, limit }) {
      const { rows } = await sql<{ id: string; kept: number; actual: number }>`
        SELECT id, view_count AS kept, ${VIEWS} AS actual FROM stories
        WHERE id > ${after}::uuid AND status <> 'removed' ORDER BY id LIMIT ${limit}`.execute(db);
      return lookOf(rows, limit);
    },
    async hold(tx, id) {
      await sql`SELECT FROM stories WHERE id = ${id}::uuid FOR NO KEY UPDATE`.execute(tx);
      const { rows } = await sql<{ kept: number; actual: number }>`
        SELECT view_count AS kept, ${VIEWS} AS actual FROM stories
        WHERE id = ${id}::uuid AND status <> 'removed'`.execute(tx);
      return rows[0] ?? null;
    },
    async repair(tx, id, { actual }) {
      await tx.updateTable("stories").set({ view_count: actual }).where("id", "=", id).execute();
    },
  },
];
