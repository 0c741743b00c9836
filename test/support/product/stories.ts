import { sql } from "kysely";
import { v7 as newId } from "uuid";
import { lockAccounts } from "../../../plugins/accounts/index.ts";
import { settleStory } from "../../../plugins/stories/stories.ts";
import { markViewed } from "../../../plugins/stories/tray-cache.ts";
import type { Context } from "../../../src/context.ts";
import { type Db, inTransaction, type Tx } from "../../../src/db/transaction.ts";
import { waitFor } from "../server.ts";

/** An account that nobody signs in to. @returns its id. */
export async function newAccount(db: Db, fields: { is_private?: boolean } = {}): Promise<string> {
  const id = newId();
  const username = `u${id.replaceAll("-", "").slice(-28)}`;
  await db
    .insertInto("users")
    .values({ id, username, email: `${id}@example.org`, password_hash: "", ...fields })
    .execute();
  return id;
}

/** In one transaction, with both accounts held, as the graph changes. */
export async function betweenTwo(db: Db, pair: readonly string[], work: (tx: Tx) => Promise<unknown>): Promise<void> {
  await inTransaction(db, async (tx) => {
    await lockAccounts(tx, pair);
    await work(tx);
  });
}

export async function startFollow({ db, emit }: Context, follower_id: string, following_id: string): Promise<void> {
  await betweenTwo(db, [follower_id, following_id], async (tx) => {
    await tx.insertInto("follows").values({ follower_id, following_id }).execute();
    await emit(tx, "follow.started", { follower_id, following_id });
  });
}

/** The rows of a story that is being processed; there is no picture. */
export async function uploadStory(db: Db, author: string, audience: string): Promise<{ id: string; medium: string }> {
  const [id, medium] = [newId(), newId()];
  await sql`INSERT INTO media (id, owner_id, purpose, state, content_type, bytes, sha256, width, height, thumbhash)
    VALUES (${medium}, ${author}, 'story', 'ready', 'image/jpeg', 1, '', 1, 1, '')`.execute(db);
  await sql`INSERT INTO stories (id, user_id, medium_id, audience, status)
    VALUES (${id}, ${author}, ${medium}, ${audience}, 'processing')`.execute(db);
  return { id, medium };
}

/** Publishes a story as the end of its processing does. @returns its id. */
export async function publishStory(context: Context, author: string, audience = "everyone"): Promise<string> {
  const { id, medium } = await uploadStory(context.db, author, audience);
  await inTransaction(context.db, (tx) => settleStory(tx, context, medium, null));
  return id;
}

/** Makes that a story is over so many milliseconds from now. */
export async function endIn(db: Db, story: string, milliseconds: number): Promise<void> {
  await sql`UPDATE stories SET expires_at = clock_timestamp() + ${milliseconds} * interval '1 millisecond'
    WHERE id = ${story}`.execute(db);
}

/** Waits until so many statements wait for locks. @param like a part of them. */
export async function untilWaiting(db: Db, { many = 1, like = "" } = {}): Promise<void> {
  await waitFor(async () => {
    const { rows } = await sql`SELECT FROM pg_stat_activity WHERE datname = current_database()
      AND wait_event_type = 'Lock' AND query LIKE ${`%${like}%`}`.execute(db);
    return rows.length >= many;
  }, "statements to wait for locks");
}

/** A view's row, and what the tray is told of it. */
export async function seeStory(context: Context, viewer: string, story: string): Promise<void> {
  const { rows } = await sql<{ xid: string }>`INSERT INTO story_views (story_id, viewer_id) VALUES (${story}, ${viewer})
    RETURNING pg_current_xact_id()::text AS xid`.execute(context.db);
  await markViewed(context, [viewer], rows[0]?.xid ?? "");
}
