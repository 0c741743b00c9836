import { NIL } from "uuid";
import type { Context } from "../../src/context.ts";
import { jsonListEntry, type TakeoutEntry } from "../../src/takeout.ts";
import { pictureEntry, picturePath } from "../media/index.ts";
import { type KeptPost, keptPosts } from "./store.ts";

const PAGE = 200;

/** posts.json, and the pictures as they were uploaded: `media/<post id>/<n>.<ext>`, counted from 1. */
export async function* postsTakeout(
  context: Pick<Context, "db" | "media">,
  userId: string,
): AsyncGenerator<TakeoutEntry> {
  yield jsonListEntry("posts.json", posts(context, userId));
  for await (const post of postsOf(context, userId)) {
    for (const [index, medium] of post.media.entries()) {
      yield pictureEntry(context, fileOf(post.id, index, medium), medium);
    }
  }
}

async function* posts(context: Pick<Context, "db">, userId: string): AsyncGenerator<object> {
  for await (const post of postsOf(context, userId)) {
    const { id, caption, status, failure_code, failure_message, created_at, published_at } = post;
    yield {
      id,
      caption,
      status,
      failure: failure_code === null ? null : { code: failure_code, message: failure_message },
      created_at,
      published_at,
      comments_closed: post.comments_closed,
      media: post.media.map((medium, index) => ({ file: fileOf(post.id, index, medium), ...medium })),
    };
  }
}

async function* postsOf({ db }: Pick<Context, "db">, userId: string): AsyncGenerator<KeptPost> {
  for (let after: string | undefined = NIL; after !== undefined; ) {
    const page: KeptPost[] = await keptPosts(db, userId, after, PAGE);
    yield* page;
    after = page.at(-1)?.id;
  }
}

function fileOf(postId: string, index: number, medium: KeptPost["media"][number]): string {
  return picturePath(`media/${postId}/${index + 1}`, medium);
}
