import { sql } from "kysely";
import { parse as bytesOf, stringify } from "uuid";
import { PG_SNAPSHOT } from "../../src/db/snapshot.ts";
import type { Db } from "../../src/db/transaction.ts";
import type { AccountRow } from "../accounts/index.ts";

/** All that decides what a viewer may see, but what is in the other account's own row. Ids; a cache may hold it. */
export interface ViewerSnapshot {
  viewer_id: string;
  follows: ReadonlySet<string>;
  blocking: ReadonlySet<string>;
  blocked_by: ReadonlySet<string>;
  mutes: ReadonlySet<string>;
}

/** What the rule needs to know of the other account. */
export type Seen = Pick<AccountRow, "id" | "is_private" | "state">;

const RELATIONS = ["follows", "blocking", "blocked_by", "mutes"] as const;

/** One round trip, whatever the number of relations. `seen` is which transactions it knows of, see src/db/snapshot.ts. */
export async function viewerSnapshot(db: Db, viewerId: string): Promise<ViewerSnapshot & { seen: string }> {
  const { rows } = await sql<Record<(typeof RELATIONS)[number], string[]> & { seen: string }>`
    SELECT ${PG_SNAPSHOT} AS seen,
           ARRAY(SELECT following_id FROM follows WHERE follower_id = ${viewerId}) AS follows,
           ARRAY(SELECT blocked_id FROM blocks WHERE blocker_id = ${viewerId}) AS blocking,
           ARRAY(SELECT blocker_id FROM blocks WHERE blocked_id = ${viewerId}) AS blocked_by,
           ARRAY(SELECT muted_id FROM mutes WHERE muter_id = ${viewerId}) AS mutes`.execute(db);
  const { follows = [], blocking = [], blocked_by = [], mutes = [], seen = "" } = rows[0] ?? {};
  return {
    seen,
    viewer_id: viewerId,
    follows: new Set(follows),
    blocking: new Set(blocking),
    blocked_by: new Set(blocked_by),
    mutes: new Set(mutes),
  };
}

/** `mayBeKnownTo` of visibility.ts. */
export function isKnown({ blocked_by }: ViewerSnapshot, { id, state }: Seen): boolean {
  return state === "active" && !blocked_by.has(id);
}

/** `mayBeListedFor` of visibility.ts. */
export function isListed(snapshot: ViewerSnapshot, account: Seen): boolean {
  return isKnown(snapshot, account) && !snapshot.blocking.has(account.id);
}

/** `mayBeSeenBy` of visibility.ts. */
export function isSeen(snapshot: ViewerSnapshot, account: Seen): boolean {
  const { viewer_id, follows } = snapshot;
  const { id, is_private } = account;
  return isListed(snapshot, account) && (!is_private || id === viewer_id || follows.has(id));
}

/** Whether the account's posts are in the viewer's feed: `feedAuthors` of visibility.ts. */
export function isInFeed(snapshot: ViewerSnapshot, account: Seen): boolean {
  const { viewer_id, follows, mutes } = snapshot;
  return isSeen(snapshot, account) && (account.id === viewer_id || (follows.has(account.id) && !mutes.has(account.id)));
}

/** As a cache keeps it: of each relation how many there are, in 4 bytes, and their ids of 16 bytes. */
export function encodeSnapshot(snapshot: ViewerSnapshot): Buffer {
  const parts = RELATIONS.flatMap((relation) => {
    const count = Buffer.alloc(4);
    count.writeUInt32BE(snapshot[relation].size);
    return [count, ...[...snapshot[relation]].map((id) => bytesOf(id))];
  });
  return Buffer.concat(parts);
}

export function decodeSnapshot(viewerId: string, bytes: Buffer): ViewerSnapshot {
  let at = 0;
  const [follows, blocking, blocked_by, mutes] = RELATIONS.map(() => {
    const end = at + 4 + 16 * bytes.readUInt32BE(at);
    const ids = new Set<string>();
    for (at += 4; at < end; at += 16) ids.add(stringify(bytes, at));
    return ids;
  }) as [Set<string>, Set<string>, Set<string>, Set<string>];
  return { viewer_id: viewerId, follows, blocking, blocked_by, mutes };
}
