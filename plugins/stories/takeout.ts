import { NIL } from "uuid";
import type { Context } from "../../src/context.ts";
import type { Db } from "../../src/db/transaction.ts";
import { jsonEntry, jsonListEntry, type TakeoutEntry } from "../../src/takeout.ts";
import { pictureEntry, picturePath } from "../media/index.ts";
import { storyPreferences } from "./archive.ts";
import { highlightsOf, type KeptStory, type KeptView, keptStories, viewsBy } from "./takeout-store.ts";

const PAGE = 200;

/**
 * stories.json, highlights.json, story_preferences.json; story_views.json: whose stories one has seen; and the pictures as
 * they were uploaded: `stories/<story id>.<ext>`.
 */
export async function* storiesTakeout(
  context: Pick<Context, "db" | "media">,
  userId: string,
): AsyncGenerator<TakeoutEntry> {
  const { db } = context;
  yield jsonListEntry("stories.json", stories(db, userId));
  yield jsonEntry("highlights.json", await highlightsOf(db, userId));
  yield jsonEntry("story_preferences.json", await storyPreferences(db, userId));
  yield jsonListEntry("story_views.json", views(db, userId));
  for await (const story of storiesOf(db, userId)) yield pictureEntry(context, fileOf(story), story.medium);
}

async function* stories(db: Db, userId: string): AsyncGenerator<object> {
  for await (const story of storiesOf(db, userId)) {
    const { failure_code, failure_message, medium, ...fields } = story;
    yield {
      ...fields,
      failure: failure_code === null ? null : { code: failure_code, message: failure_message },
      media: [{ file: fileOf(story), ...medium }],
    };
  }
}

async function* storiesOf(db: Db, userId: string): AsyncGenerator<KeptStory> {
  for (let after: string | undefined = NIL; after !== undefined; ) {
    const page: KeptStory[] = await keptStories(db, userId, { limit: PAGE, after });
    yield* page;
    after = page.at(-1)?.id;
  }
}

async function* views(db: Db, userId: string): AsyncGenerator<object> {
  for (let after: string | undefined = NIL; after !== undefined; ) {
    const page: KeptView[] = await viewsBy(db, userId, { limit: PAGE, after });
    yield* page;
    after = page.at(-1)?.story_id;
  }
}

function fileOf({ id, medium }: KeptStory): string {
  return picturePath(`stories/${id}`, medium);
}
