import { Type } from "typebox";
import type { Context } from "../../src/context.ts";
import { viewerOf } from "../../src/http/auth.ts";
import { PageQuery, pageOf, pageRequest } from "../../src/http/paging.ts";
import type { App } from "../../src/http/types.ts";
import { changeStoryPreferences, storyPreferences } from "./archive.ts";
import { listArchive } from "./archive-store.ts";
import { sendStories } from "./pages.ts";
import { Story } from "./schemas.ts";

const tags = ["Stories"];

const StoryPreferences = Type.Object({
  keep_archive: Type.Boolean({ description: "whether one's stories are kept for oneself when they are over" }),
});

export async function archiveRoutes(app: App, context: Context): Promise<void> {
  const { db } = context;

  app.get(
    "/me/story-preferences",
    {
      schema: {
        summary: "What becomes of one's stories when they are over",
        tags,
        response: { 200: StoryPreferences },
      },
    },
    async (request) => storyPreferences(db, viewerOf(request).id),
  );

  app.patch(
    "/me/story-preferences",
    {
      schema: {
        summary: "Choose whether one's stories are kept when they are over",
        description:
          "For those that are not over yet and those to come. What is in the archive stays there until it is deleted; what is in a highlight is always kept.",
        tags,
        body: Type.Partial(StoryPreferences, { additionalProperties: false }),
        response: { 200: StoryPreferences },
      },
    },
    async (request) => changeStoryPreferences(db, viewerOf(request).id, request.body),
  );

  app.get(
    "/me/stories/archive",
    {
      schema: {
        summary: "One's own stories that are over and kept, the latest first",
        description: "They are for oneself alone, but for those in highlights. `DELETE /stories/{id}` deletes one.",
        tags,
        querystring: PageQuery,
        response: { 200: pageOf(Story) },
      },
    },
    async (request, reply) => {
      const viewer = viewerOf(request);
      const { limit, after } = pageRequest(request.query);
      const rows = await listArchive(db, viewer.id, { limit: limit + 1, after });
      return sendStories(request, reply, context, { rows, limit });
    },
  );
}
