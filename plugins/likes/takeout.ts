import { NIL } from "uuid";
import type { Context } from "../../src/context.ts";
import type { Db } from "../../src/db/transaction.ts";
import { jsonListEntry, type TakeoutEntry } from "../../src/takeout.ts";
import { likesOf } from "./store.ts";

const PAGE = 500;

/** likes.json: which posts one likes, and since when. */
export async function* likesTakeout({ db }: Pick<Context, "db">, userId: string): AsyncGenerator<TakeoutEntry> {
  yield jsonListEntry("likes.json", likes(db, userId));
}

async function* likes(db: Db, userId: string): AsyncGenerator<object> {
  for (let after: string | undefined = NIL; after !== undefined; ) {
    const page: { post_id: string; liked_at: Date }[] = await likesOf(db, userId, { limit: PAGE, after });
    yield* page;
    after = page.at(-1)?.post_id;
  }
}
