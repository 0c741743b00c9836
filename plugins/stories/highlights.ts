import { validate as isUuid, NIL, v7 as newId } from "uuid";
import type { Context } from "../../src/context.ts";
import { type Db, inTransaction, type Tx } from "../../src/db/transaction.ts";
import { keepAnswer } from "../../src/http/idempotency.ts";
import { nameFrom } from "../../src/http/names.ts";
import { lockAccounts, requireActive } from "../accounts/index.ts";
import { mediaUrls } from "../tickets/index.ts";
import { highlightFull, highlightNotFound, storyNotFound, storyNotPublished, tooManyHighlights } from "./errors.ts";
import { type Highlight, toHighlight } from "./highlight-schemas.ts";
import {
  countHighlightStories,
  countHighlights,
  deleteFromHighlight,
  deleteHighlight,
  findHighlight,
  type HighlightRow,
  insertHighlight,
  insertIntoHighlight,
  isHighlightOf,
  keepStories,
  lockHighlight,
  lockOwnStories,
  setTitle,
} from "./highlight-store.ts";
import { requireOwnStory } from "./stories.ts";

/** Code points that a title may have. */
export const TITLE_LENGTH = 50;
/** Highlights that an account may have: a page of them counts the stories of each. */
export const MOST_HIGHLIGHTS = 100;
/** Stories that may be in one. */
export const MOST_STORIES = 100;

/** Whether a story is in the highlight that was asked about. */
export interface Highlighted {
  highlighted: boolean;
}

/** @throws 404 for a highlight that is not there, or has nothing for the viewer and is another's. */
export async function requireHighlight(db: Db, viewerId: string, id: string): Promise<HighlightRow> {
  const highlight = isUuid(id) ? await findHighlight(db, viewerId, id) : undefined;
  if (!highlight) throw highlightNotFound({});
  return highlight;
}

/**
 * Makes a highlight of stories of one's own, which are kept from then on.
 * @param content.story_ids MOST_STORIES at most.
 * @throws 404 for a story that is not there, or over and not kept, 403 for another's, 409 for one that is not published yet,
 * 422 for a title that cannot be one, or beyond MOST_HIGHLIGHTS.
 */
export async function createHighlight(
  context: Pick<Context, "config" | "db">,
  userId: string,
  content: { title: string; story_ids: readonly string[] },
): Promise<Highlight> {
  const title = titleFrom(content.title);
  const storyIds = [...new Set(content.story_ids)];
  const urls = await mediaUrls(context, userId);
  const id = newId();
  return inTransaction(context.db, async (tx) => {
    await keepAll(tx, userId, storyIds);
    // Two that are made at once are made one after the other, and the second is counted with the first.
    await lockAccounts(tx, [userId]);
    await requireActive(tx, userId);
    if ((await countHighlights(tx, userId)) >= MOST_HIGHLIGHTS) throw tooManyHighlights({ limit: MOST_HIGHLIGHTS });
    await insertHighlight(tx, { id, user_id: userId, title });
    await insertIntoHighlight(tx, id, storyIds);
    const answer = toHighlight(await requireHighlight(tx, userId, id), urls);
    await keepAnswer(tx, 201, answer);
    return answer;
  });
}

/** @throws 404 for a highlight that is not there, or another's, 422. */
export async function changeHighlight(
  db: Db,
  userId: string,
  id: string,
  { title }: { title?: string },
): Promise<HighlightRow> {
  const changed = title === undefined ? undefined : titleFrom(title);
  if (!isUuid(id)) throw highlightNotFound({});
  return inTransaction(db, async (tx) => {
    const isThere =
      changed === undefined ? await lockHighlight(tx, userId, id) : await setTitle(tx, userId, id, changed);
    if (!isThere) throw highlightNotFound({});
    return requireHighlight(tx, userId, id);
  });
}

/** What was in it stays kept. @throws 404 as above. */
export async function removeHighlight(db: Db, userId: string, id: string): Promise<void> {
  if (!isUuid(id) || !(await deleteHighlight(db, userId, id))) throw highlightNotFound({});
}

/**
 * Puts a story of one's own into a highlight; it is kept from then on. Idempotent.
 * @throws 404, 403 and 409 as for a new one, 404 for the highlight, 422 for one that has MOST_STORIES.
 */
export async function addToHighlight(db: Db, userId: string, id: string, storyId: string): Promise<Highlighted> {
  // Before the story, of which nothing is said to whom the highlight is none.
  if (!isUuid(id) || !(await isHighlightOf(db, userId, id))) throw highlightNotFound({});
  return inTransaction(db, async (tx) => {
    await keepAll(tx, userId, [storyId]);
    if (!(await lockHighlight(tx, userId, id))) throw highlightNotFound({});
    await insertIntoHighlight(tx, id, [storyId]);
    if ((await countHighlightStories(tx, id)) > MOST_STORIES) throw highlightFull({ limit: MOST_STORIES });
    const answer = { highlighted: true };
    await keepAnswer(tx, 200, answer);
    return answer;
  });
}

/** Takes a story out of a highlight, where it is in it. It stays kept, for its author alone. Idempotent. @throws 404 for the highlight. */
export async function takeFromHighlight(db: Db, userId: string, id: string, storyId: string): Promise<Highlighted> {
  const ids = { highlightId: id, storyId: isUuid(storyId) ? storyId : NIL };
  if (!isUuid(id) || !(await deleteFromHighlight(db, userId, ids))) throw highlightNotFound({});
  return { highlighted: false };
}

function titleFrom(text: string): string {
  return nameFrom(text, { of: "the title of a highlight", length: TITLE_LENGTH });
}

/**
 * Holds the stories and keeps them all.
 * @throws 404 for one that is not there, or over and not kept, 403 for another's, 409 for one that is not published yet.
 */
async function keepAll(tx: Tx, userId: string, storyIds: readonly string[]): Promise<void> {
  if (!storyIds.every(isUuid)) throw storyNotFound({});
  await lockOwnStories(tx, userId, storyIds);
  const kept = new Set(await keepStories(tx, userId, storyIds));
  const missing = storyIds.find((id) => !kept.has(id));
  if (missing === undefined) return;
  const { status } = await requireOwnStory(tx, userId, missing);
  // A published one was over when its turn came.
  throw status === "published" ? storyNotFound({}) : storyNotPublished({}, { retryAfter: 2 });
}
