import type { Context } from "../../src/context.ts";
import type { Db } from "../../src/db/transaction.ts";
import type { Position } from "../../src/http/paging.ts";
import { jsonEntry, jsonListEntry, type TakeoutEntry } from "../../src/takeout.ts";
import { foldBacklog } from "./backlog.ts";
import { fold } from "./fold.ts";
import { preferences } from "./notifications.ts";
import { listNotifications } from "./store.ts";

const PAGE = 200;

/** What one is told, with the names of those whom it names, and what one has chosen to be told. */
export async function* notificationsTakeout({ db }: Pick<Context, "db">, userId: string): AsyncGenerator<TakeoutEntry> {
  yield jsonListEntry("notifications.json", notifications(db, userId));
  yield jsonEntry("notification_preferences.json", await preferences(db, userId));
}

async function* notifications(db: Db, userId: string): AsyncGenerator<object> {
  await fold(db, userId);
  await foldBacklog(db, userId);
  for (let after: Position | null | undefined = null; after !== undefined; ) {
    const page = await listNotifications(db, userId, { limit: PAGE, after });
    for (const { actors, newly_shown_at: _, ...row } of page) {
      yield { ...row, actors: actors.map(({ id, username, display_name }) => ({ id, username, display_name })) };
    }
    const last = page.at(-1);
    after = last && { at: last.updated_at, id: last.id };
  }
}
