import { sql } from "kysely";
import type { Db } from "../../src/db/transaction.ts";
import type { MediumState, Purpose } from "./store.ts";

/** What some media take in the store. */
export interface Usage {
  media: number;
  /** Those that are there: not the dropped ones. */
  originals: number;
  original_bytes: number;
  renditions: number;
  rendition_bytes: number;
  /** Of both. */
  bytes: number;
}

export interface UsageReport {
  total: Usage;
  by_kind: (Usage & { kind: Purpose; state: MediumState })[];
  /** Those who take most, first. */
  by_user: (Usage & { username: string })[];
  /** How many accounts have media, also those that are not listed. */
  users: number;
}

interface Group extends Usage {
  kind: Purpose | null;
  state: MediumState | null;
  username: string | null;
  users: number;
}

/**
 * What rows say that media take, in one look at all of them: each table is read once from end to end, or for one account
 * by its index. A removed medium counts until its objects have gone.
 * @param options.limit accounts that are listed.
 */
export async function usageOfMedia(
  db: Db,
  { ownerId, limit }: { ownerId: string | null; limit: number },
): Promise<UsageReport> {
  const { rows } = await sql<Group>`
    WITH made AS (
      SELECT medium_id, count(*) AS renditions, sum(bytes) AS bytes FROM renditions
      ${ownerId === null ? sql`` : sql`WHERE medium_id IN (SELECT id FROM media WHERE owner_id = ${ownerId})`}
      GROUP BY medium_id
    ), groups AS (
      SELECT grouping(purpose) AS not_kind, grouping(owner_id) AS not_user, purpose AS kind, state, owner_id,
        count(*) AS media,
        count(*) FILTER (WHERE original_dropped_at IS NULL) AS originals,
        coalesce(sum(media.bytes) FILTER (WHERE original_dropped_at IS NULL), 0)::bigint AS original_bytes,
        coalesce(sum(made.renditions), 0)::bigint AS renditions,
        coalesce(sum(made.bytes), 0)::bigint AS rendition_bytes
      FROM media LEFT JOIN made ON made.medium_id = media.id
      ${ownerId === null ? sql`` : sql`WHERE owner_id = ${ownerId}`}
      GROUP BY GROUPING SETS ((), (purpose, state), (owner_id))
    ), largest AS (
      SELECT *, count(*) OVER () AS users FROM groups WHERE not_user = 0
      ORDER BY original_bytes + rendition_bytes DESC, owner_id LIMIT ${limit}
    )
    SELECT kind, state, NULL AS username, 0 AS users, media, originals, original_bytes, renditions, rendition_bytes,
      original_bytes + rendition_bytes AS bytes
    FROM groups WHERE not_user = 1
    UNION ALL
    SELECT NULL, NULL, username, users, media, originals, original_bytes, renditions, rendition_bytes,
      original_bytes + rendition_bytes
    FROM largest JOIN users AS owners ON owners.id = owner_id
    ORDER BY bytes DESC, kind, state, username`.execute(db);
  const report: UsageReport = { total: usageOf(undefined), by_kind: [], by_user: [], users: 0 };
  for (const row of rows) {
    const { kind, state, username } = row;
    if (username !== null) {
      report.by_user.push({ username, ...usageOf(row) });
      report.users = row.users;
    } else if (kind !== null && state !== null) report.by_kind.push({ kind, state, ...usageOf(row) });
    else report.total = usageOf(row);
  }
  return report;
}

function usageOf(group: Group | undefined): Usage {
  const { media = 0, originals = 0, original_bytes = 0, renditions = 0, rendition_bytes = 0, bytes = 0 } = group ?? {};
  return { media, originals, original_bytes, renditions, rendition_bytes, bytes };
}
