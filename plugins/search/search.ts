import type { Db } from "../../src/db/transaction.ts";
import type { RankedPosition } from "../../src/http/paging.ts";
import { searchEmpty, searchTooLong } from "./errors.ts";
import { type FoundPerson, findPeople, fold } from "./store.ts";

/** Characters of a search. */
export const LONGEST_QUERY = 100;

/**
 * One page of those whom the viewer may be shown and whose names begin with, or look like, what was typed: the followed
 * first, then the better match.
 * @param typed a user name, with or without its @, or words of a display name, as they come from a keyboard.
 * @throws 422 when that is nothing, or too long.
 */
export async function searchPeople(
  db: Db,
  viewerId: string,
  typed: string,
  page: { limit: number; after: RankedPosition | null },
): Promise<FoundPerson[]> {
  if ([...typed].length > LONGEST_QUERY) throw searchTooLong({ limit: LONGEST_QUERY });
  const name = typed.normalize("NFKC").trim().replace(/^@/, "").trim();
  const folded = await fold(db, name);
  if (folded.name === "") throw searchEmpty({});
  return findPeople(db, viewerId, folded, page);
}
