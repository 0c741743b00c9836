import { NIL } from "uuid";
import type { Context } from "../../src/context.ts";
import { jsonListEntry, type TakeoutEntry } from "../../src/takeout.ts";
import { keptComments, keptLikes } from "./list-store.ts";

const PAGE = 500;

/** comments.json, what one has written; and comment_likes.json, the ids of comments that one likes. */
export async function* commentsTakeout({ db }: Pick<Context, "db">, userId: string): AsyncGenerator<TakeoutEntry> {
  const pages = async function* <Row>(read: (after: string) => Promise<Row[]>, idOf: (row: Row) => string) {
    for (let after: string | undefined = NIL; after !== undefined; ) {
      const page: Row[] = await read(after);
      yield* page;
      const last = page.at(-1);
      after = last && idOf(last);
    }
  };
  yield jsonListEntry(
    "comments.json",
    pages(
      (after) => keptComments(db, userId, after, PAGE),
      ({ id }) => id,
    ),
  );
  yield jsonListEntry(
    "comment_likes.json",
    pages(
      (after) => keptLikes(db, userId, after, PAGE),
      ({ comment_id }) => comment_id,
    ),
  );
}
