import { sql } from "kysely";
import type { Db } from "../../src/db/transaction.ts";
import type { KnownObject } from "../../src/ports/media.ts";
import { mediumOfKey, objectKeys, originalKey, renditionKey } from "./keys.ts";
import { type MediumState, renditionsOf } from "./store.ts";

/**
 * What the rows say of an object now. `needed`: a row stands for it. `handled`: no row does, and somebody is at it, who
 * will give it a row or remove it. `unneeded`: nobody will ask for it again; `ownerless` says that not even its medium is
 * there any more.
 */
export type Standing =
  | ({ state: "needed" } & Pick<KnownObject, "bytes" | "sha256">)
  | { state: "handled" }
  | { state: "unneeded"; ownerless: boolean };

interface MediumStanding {
  id: string;
  state: MediumState | null;
  bytes: number | null;
  sha256: Buffer | null;
  dropped: boolean;
  /** Its upload is under way, or waits for the sweeper. */
  pending: boolean;
  /** It has a job that makes renditions, or removes objects. */
  at_work: boolean;
}

/** @param keys of objects, some hundreds at most. */
export async function standingOf(db: Db, keys: readonly string[]): Promise<Map<string, Standing>> {
  const ids = [...new Set(keys.map(mediumOfKey).filter((id) => id !== null))];
  const media = new Map((await mediaStanding(db, ids)).map((medium) => [medium.id, medium]));
  const renditions = new Map(
    (await renditionsOf(db, ids)).map((row) => [renditionKey(row.medium_id, row.name, row.version), row]),
  );
  return new Map(
    keys.map((key) => {
      const medium = media.get(mediumOfKey(key) ?? "");
      return [key, medium ? standing(key, medium, renditions.get(key)) : { state: "unneeded", ownerless: true }];
    }),
  );
}

/** What the rows say of these objects' bytes; of those that no row stands for, nothing. */
export async function hashesOf(db: Db, keys: readonly string[]): Promise<Map<string, Buffer>> {
  const hashes = new Map<string, Buffer>();
  for (const [key, standing] of await standingOf(db, keys)) {
    if (standing.state === "needed" && standing.sha256) hashes.set(key, standing.sha256);
  }
  return hashes;
}

function standing(
  key: string,
  medium: MediumStanding,
  rendition: Pick<KnownObject, "bytes" | "sha256"> | undefined,
): Standing {
  if (medium.state === null) return medium.pending ? { state: "handled" } : { state: "unneeded", ownerless: true };
  if (medium.state === "removed") return { state: "handled" };
  const known = key === originalKey(medium.id) ? !medium.dropped && medium : rendition;
  if (known) return { state: "needed", bytes: known.bytes, sha256: known.sha256 };
  // The next try of one that has no renditions yet puts them where the last may have left some.
  const awaited = medium.state !== "ready" && objectKeys(medium.id).includes(key);
  return medium.at_work || awaited ? { state: "handled" } : { state: "unneeded", ownerless: false };
}

/** In one statement: an upload that gets its row loses its note in the same moment. */
async function mediaStanding(db: Db, ids: readonly string[]): Promise<MediumStanding[]> {
  const { rows } = await sql<MediumStanding>`
    SELECT wanted.id, media.state, media.bytes, media.sha256, media.original_dropped_at IS NOT NULL AS dropped,
      pending_originals.medium_id IS NOT NULL AS pending,
      wanted.id::text IN (
        SELECT data->>'medium_id' FROM pgboss.job
        WHERE name IN ('media.process', 'media.discard') AND state IN ('created', 'retry', 'active')
          AND data->>'medium_id' IS NOT NULL) AS at_work
    FROM unnest(${ids}::uuid[]) AS wanted (id)
    LEFT JOIN media ON media.id = wanted.id
    LEFT JOIN pending_originals ON pending_originals.medium_id = wanted.id`.execute(db);
  return rows;
}
