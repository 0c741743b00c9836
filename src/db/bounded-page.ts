import { type RawBuilder, sql } from "kysely";
import type { Position } from "../http/paging.ts";
import type { Db } from "./transaction.ts";

/**
 * Entries of a list that one page looks at. Where the viewer may not see that many in a row, the page is a short one and
 * the next goes on behind them: a page costs as much as that at most, however many entries there are.
 */
const LOOKED_AT = 500;

/** The fragments see the names that are said of them, and no others but what they join. */
export interface BoundedList {
  /** Table and condition, as in `saves WHERE user_id = 1`. */
  from: RawBuilder<unknown>;
  /** Columns of it, `at` and `id` among them: where an index has them all, the table is not read. */
  columns: RawBuilder<unknown>;
  /** By which two columns it is ordered, and which way. An index has to have them behind the condition. */
  at: string;
  id: string;
  order?: "ASC" | "DESC";
  /** JOIN and WHERE that leave those of `entries` which the viewer may see. */
  seen: RawBuilder<unknown>;
  /** Columns of `entries` and of what is joined, `at` and `id` among them. */
  page: RawBuilder<unknown>;
  /** Columns of `page`: what is asked only for entries that are shown. All where it is left out. */
  shown?: RawBuilder<unknown>;
}

export interface BoundedPage<Row> {
  rows: Row[];
  /** Where to go on though there are not as many rows as asked for. */
  next: Position | null;
}

/** One page of a list of which the viewer may not see every entry. */
export async function boundedPage<Row extends object>(
  db: Db,
  { from, columns, order = "DESC", seen, page, shown = sql`page.*`, ...key }: BoundedList,
  { limit, after }: { limit: number; after: Position | null },
): Promise<BoundedPage<Row>> {
  const [at, id, direction] = [sql.ref(key.at), sql.ref(key.id), sql.raw(order)];
  const behind = sql.raw(order === "DESC" ? "<" : ">");
  const entries = sql`${from} ${after ? sql`AND (${at}, ${id}) ${behind} (${after.at}, ${after.id}::uuid)` : sql``}`;
  const sortedBy = (table: string) =>
    sql`ORDER BY ${sql.ref(`${table}.${key.at}`)} ${direction}, ${sql.ref(`${table}.${key.id}`)} ${direction}`;
  const sorted = sql`ORDER BY ${at} ${direction}, ${id} ${direction}`;
  type Rest = { next_at: Date | null; next_id: string | null };
  const { rows } = await sql<Rest & ((Row & { is_there: true }) | { is_there: false })>`
    WITH page AS MATERIALIZED (
      SELECT ${page} FROM (SELECT ${columns} FROM ${entries} ${sorted} LIMIT ${LOOKED_AT}) AS entries
      ${seen} ${sortedBy("entries")} LIMIT ${limit}
    )
    SELECT ${shown}, ${sql.ref(`page.${key.id}`)} IS NOT NULL AS is_there, rest.at AS next_at, rest.id AS next_id
    FROM (SELECT) AS one LEFT JOIN page ON true LEFT JOIN (
      SELECT ${at} AS at, ${id} AS id FROM ${entries} AND (SELECT count(*) FROM page) < ${limit}
      ${sorted} OFFSET ${LOOKED_AT - 1} LIMIT 1
    ) AS rest ON true
    ${sortedBy("page")}`.execute(db);
  const { next_at = null, next_id = null } = rows[0] ?? {};
  return {
    rows: rows.filter((row) => row.is_there),
    next: next_at && next_id ? { at: next_at, id: next_id } : null,
  };
}
