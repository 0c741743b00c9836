import { NIL } from "uuid";
import type { Context } from "../../src/context.ts";
import type { Db } from "../../src/db/transaction.ts";
import { jsonListEntry, type TakeoutEntry } from "../../src/takeout.ts";
import { collectionsOf, type KeptSave, savesOf } from "./erase-store.ts";

const PAGE = 500;

/** saved.json: which posts one saved, and in which collections they are; collections.json: those, empty ones too. */
export async function* savesTakeout({ db }: Pick<Context, "db">, userId: string): AsyncGenerator<TakeoutEntry> {
  yield jsonListEntry("saved.json", saved(db, userId));
  yield jsonListEntry("collections.json", collections(db, userId));
}

async function* saved(db: Db, userId: string): AsyncGenerator<object> {
  for (let after: string | undefined = NIL; after !== undefined; ) {
    const page: KeptSave[] = await savesOf(db, userId, { limit: PAGE, after });
    yield* page;
    after = page.at(-1)?.post_id;
  }
}

async function* collections(db: Db, userId: string): AsyncGenerator<object> {
  yield* await collectionsOf(db, userId);
}
