import type { Context } from "../../src/context.ts";
import type { Db } from "../../src/db/transaction.ts";
import type { Position } from "../../src/http/paging.ts";
import { jsonListEntry, type TakeoutEntry } from "../../src/takeout.ts";
import { type List, listPeople } from "./store.ts";

const PAGE = 500;

/** The files, and what each of the people in it has a time of. */
const FILES: ReadonlyArray<readonly [file: string, list: List, time: string]> = [
  ["followers.json", "followers", "followed_at"],
  ["following.json", "following", "followed_at"],
  ["follow_requests.json", "requests", "requested_at"],
  ["sent_follow_requests.json", "sent_requests", "requested_at"],
  ["blocks.json", "blocks", "blocked_at"],
  ["mutes.json", "mutes", "muted_at"],
  ["close_friends.json", "close_friends", "added_at"],
  ["stories_hidden_from.json", "story_hides", "hidden_at"],
];

/** One's lists, with the people whom one would be shown in them, and no more of each than their name. */
export async function* graphTakeout({ db }: Pick<Context, "db">, userId: string): AsyncGenerator<TakeoutEntry> {
  for (const [file, list, time] of FILES) yield jsonListEntry(file, people(db, { userId, list, time }));
}

async function* people(
  db: Db,
  { userId, list, time }: { userId: string; list: List; time: string },
): AsyncGenerator<object> {
  for (let after: Position | null | undefined = null; after !== undefined; ) {
    const page = await listPeople(db, userId, { userId, list, limit: PAGE, after });
    for (const { id, username, display_name, listed_at } of page)
      yield { id, username, display_name, [time]: listed_at };
    const last = page.at(-1);
    after = last && { at: last.listed_at, id: last.id };
  }
}
