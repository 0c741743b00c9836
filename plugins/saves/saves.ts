import { validate as isUuid, NIL, v7 as newId } from "uuid";
import type { Context } from "../../src/context.ts";
import { type Db, inTransaction, type Tx } from "../../src/db/transaction.ts";
import { keepAnswer, withAnswer } from "../../src/http/idempotency.ts";
import { lockAccounts } from "../accounts/index.ts";
import { postNotFound, requirePublished } from "../posts/index.ts";
import { collectionNameTaken, collectionNotFound, tooManyCollections } from "./errors.ts";
import { type CollectionName, collectionName, fold } from "./names.ts";
import {
  type CollectionRow,
  collectionByName,
  collectionIdByName,
  countCollections,
  deleteCollection,
  deleteFromCollection,
  deleteSave,
  holdCollection,
  insertCollection,
  insertIntoCollection,
  insertSave,
  renameCollection,
} from "./store.ts";

/** Collections that one account may have: a page of them counts the posts of each. */
export const MOST_COLLECTIONS = 200;

type SavesContext = Pick<Context, "db">;

/**
 * Saves a post; with a name, into that collection, which is made if there is none. Idempotent. Nobody is told.
 * @throws 404 for a post that is not there or not for the viewer's eyes, 409 for one's own before it is published, 422 for a name that cannot be one.
 */
export async function save(
  { db }: SavesContext,
  viewerId: string,
  postId: string,
  collection: string | null,
): Promise<{ saved: boolean }> {
  if (!isUuid(postId)) throw postNotFound({});
  if (collection === null) {
    return withAnswer(db, 200, async (db) => {
      requirePublished(await insertSave(db, viewerId, postId));
      return { saved: true };
    });
  }
  const name = collectionName(collection);
  return inTransaction(db, async (tx) => {
    requirePublished(await insertSave(tx, viewerId, postId));
    const held = (await holdCollection(tx, viewerId, name.folded)) ?? (await makeCollection(tx, viewerId, name));
    // It may be unsaved at this moment by another request, which then came last.
    const answer = { saved: await insertIntoCollection(tx, { userId: viewerId, postId, collectionId: held }) };
    await keepAnswer(tx, 200, answer);
    return answer;
  });
}

async function makeCollection(tx: Tx, userId: string, name: CollectionName): Promise<string> {
  // Two that make one at once do so one after the other, and the second may find it made.
  await lockAccounts(tx, [userId]);
  const made = await holdCollection(tx, userId, name.folded);
  if (made !== undefined) return made;
  if ((await countCollections(tx, userId)) >= MOST_COLLECTIONS) throw tooManyCollections({ limit: MOST_COLLECTIONS });
  const id = newId();
  await insertCollection(tx, { id, user_id: userId, ...name });
  return id;
}

/**
 * Unsaves a post; with a name, takes it out of that collection only. Idempotent.
 * @returns whether it is still saved. @throws 404 and 409 as above, 404 also where there is no such collection.
 */
export async function unsave(
  { db }: SavesContext,
  viewerId: string,
  postId: string,
  collection: string | null,
): Promise<boolean> {
  if (!isUuid(postId)) throw postNotFound({});
  if (collection === null) {
    requirePublished(await deleteSave(db, viewerId, postId));
    return false;
  }
  // The post first: of one that may not be seen, nothing is said but that.
  const found = await collectionIdByName(db, viewerId, fold(collection));
  const { saved } = requirePublished(await deleteFromCollection(db, viewerId, { postId, collectionId: found ?? NIL }));
  if (found === undefined) throw collectionNotFound({});
  return saved;
}

/** @returns its id. @throws 404 */
export async function requireCollection(db: Db, viewerId: string, name: string): Promise<string> {
  const found = await collectionIdByName(db, viewerId, fold(name));
  if (found === undefined) throw collectionNotFound({});
  return found;
}

/** @throws 404, 409 for the name of another, 422. */
export async function rename({ db }: SavesContext, viewerId: string, from: string, to: string): Promise<CollectionRow> {
  const name = collectionName(to);
  await inTransaction(db, async (tx) => {
    // The lock of those who make collections: a name is taken once.
    await lockAccounts(tx, [viewerId]);
    const own = await holdCollection(tx, viewerId, fold(from));
    if (own === undefined) throw collectionNotFound({});
    const other = await holdCollection(tx, viewerId, name.folded);
    if (other !== undefined && other !== own) throw collectionNameTaken({ name: name.name });
    await renameCollection(tx, viewerId, fold(from), name);
  });
  const renamed = await collectionByName(db, viewerId, name.folded);
  // Deleted meanwhile, or renamed once more.
  if (!renamed) throw collectionNotFound({});
  return renamed;
}

/** What is in it stays saved. @throws 404 */
export async function removeCollection({ db }: SavesContext, viewerId: string, name: string): Promise<void> {
  if (!(await deleteCollection(db, viewerId, fold(name)))) throw collectionNotFound({});
}
