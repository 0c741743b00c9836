import type { Context } from "../../src/context.ts";
import type { Position } from "../../src/http/paging.ts";
import { jsonEntry, jsonListEntry, type TakeoutEntry } from "../../src/takeout.ts";
import { heldNames } from "./name-store.ts";
import { listSessions, type SessionRow } from "./session-store.ts";
import { accountById } from "./store.ts";

const PAGE = 500;

/** profile.json and sessions.json: what is kept of an account, but what proves who one is. */
export async function* accountTakeout(context: Context, userId: string): AsyncGenerator<TakeoutEntry> {
  const account = await accountById(context.db, userId);
  if (!account) return;
  const { id, username, display_name, bio, is_private, email, email_confirmed_at } = account;
  const { post_count, follower_count, following_count, created_at } = account;
  const former_usernames = (await heldNames(context.db, userId)).map((name) => ({
    username: name.username,
    free_at: name.free_at,
  }));
  // Named one by one: what an account gets later is not always for everybody who holds the archive.
  yield jsonEntry("profile.json", {
    ...{ id, username, display_name, bio, is_private, email, email_confirmed_at, former_usernames },
    ...{ post_count, follower_count, following_count, created_at },
  });
  yield jsonListEntry("sessions.json", sessions(context, userId));
}

async function* sessions({ config, db }: Context, userId: string): AsyncGenerator<SessionRow> {
  const lifetime = config.accounts.session_lifetime;
  for (let after: Position | null | undefined = null; after !== undefined; ) {
    const page: SessionRow[] = await listSessions(db, { userId, lifetime, limit: PAGE, after });
    yield* page;
    const last = page.at(-1);
    after = last && { at: last.created_at, id: last.id };
  }
}
