import { type RawBuilder, sql } from "kysely";
import { NIL } from "uuid";
import { type Counter, lookOf, type Numbers } from "../../src/counters.ts";
import { addToUses, lockUses } from "./store.ts";

/** SQL: the first hashtag behind this one, of those that have posts or uses. */
const next = (tag: RawBuilder<string>) => sql`least(
  (SELECT tag FROM tags WHERE tags.tag > ${tag} ORDER BY tag LIMIT 1),
  (SELECT tag FROM post_tags WHERE post_tags.tag > ${tag} ORDER BY tag LIMIT 1))`;

/** SQL: both numbers of the tags of a query. What changes posts changes the log in one statement, and so does who empties it. */
const numbersOf = (wanted: RawBuilder<unknown>) => sql<Numbers & { id: string }>`
  SELECT wanted.tag AS id, coalesce(tags.uses, 0) + coalesce(logged.uses, 0) AS kept,
    (SELECT count(*)::int FROM post_tags WHERE post_tags.tag = wanted.tag) AS actual
  FROM (${wanted}) AS wanted LEFT JOIN tags ON tags.tag = wanted.tag
  LEFT JOIN (SELECT tag, sum(delta)::int AS uses FROM tag_log GROUP BY tag) AS logged ON logged.tag = wanted.tag
  ORDER BY wanted.tag`;

export const tagCounters: readonly Counter[] = [
  {
    // A tag is its own id.
    name: "tags.uses",
    async look(db, { after, limit }) {
      const from = sql<string>`${after === NIL ? "" : after}::text`;
      const { rows } = await sql<Numbers & { id: string }>`
        WITH RECURSIVE walked (tag) AS (
          SELECT ${next(from)} UNION ALL SELECT ${next(sql`walked.tag`)} FROM walked WHERE walked.tag IS NOT NULL
        ) ${numbersOf(sql`SELECT tag FROM walked WHERE tag IS NOT NULL LIMIT ${limit}`)}`.execute(db);
      return lookOf(rows, limit);
    },
    // Posts and the job go on meanwhile, and what is missing does not change by that.
    async hold(tx, id) {
      await lockUses(tx);
      const { rows } = await numbersOf(sql`SELECT ${id}::text COLLATE "C" AS tag`).execute(tx);
      return rows[0] ?? null;
    },
    repair: (tx, id, { kept, actual }) => addToUses(tx, id, actual - kept),
  },
];
