import type { Tx } from "../../src/db/transaction.ts";
import { usernameChangedTooOften, usernameTaken } from "./errors.ts";
import { heldNames, isReserved, releaseName, reserveName } from "./name-store.ts";

/** Names that are kept for one account at a time. More would let one person take the good ones from all others. */
const MOST_HELD = 5;

/**
 * To be called when the name has been written to the account, in the same transaction, which its error ends. Before that
 * it could miss somebody who gives the name up at this moment: the unique index makes this transaction wait for theirs,
 * and only then their reservation is there to be seen.
 * @throws 409 for a name that is kept for somebody else.
 */
export async function claimName(tx: Tx, username: string, userId: string): Promise<void> {
  if (await isReserved(tx, username, userId)) throw usernameTaken({ username });
  await releaseName(tx, username);
}

/**
 * Keeps the name that an account had, for so many milliseconds, so that nobody can pass for it.
 * @throws 409 when too many are kept for it.
 */
export async function giveUpName(
  tx: Tx,
  account: { id: string; username: string },
  milliseconds: number,
): Promise<void> {
  await reserveName(tx, { username: account.username, holder_id: account.id, milliseconds });
  const [first, ...others] = await heldNames(tx, account.id);
  if (first === undefined || others.length < MOST_HELD) return;
  const free_at = first.free_at.toISOString();
  throw usernameChangedTooOften({ limit: MOST_HELD, free_at }, { details: { free_at } });
}
