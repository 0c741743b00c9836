import { Type } from "typebox";
import type { Context } from "../../src/context.ts";
import { viewerOf } from "../../src/http/auth.ts";
import { IdParams } from "../../src/http/ids.ts";
import { Nullable, PageQuery, pageOf, pageRequest, sendPage } from "../../src/http/paging.ts";
import type { App } from "../../src/http/types.ts";
import { toUser, User } from "../accounts/index.ts";
import { mediaUrls } from "../tickets/index.ts";
import { requireOwnStory } from "./stories.ts";
import { listViewers } from "./view-store.ts";
import { Views } from "./views.ts";

const tags = ["Stories"];

/** Characters: far more than the longest emoji has, which are families and flags. */
const LONGEST = 64;

const StoryViewer = Type.Object({
  user: User,
  viewed_at: Type.String({ format: "date-time" }),
  reaction: Nullable(Type.String({ description: "one emoji" })),
});
const Viewers = Type.Object({
  ...pageOf(StoryViewer).properties,
  view_count: Type.Integer({ description: "how many others have seen it, those who are not listed included" }),
});

export async function storyViewRoutes(app: App, context: Context): Promise<void> {
  const { config, db } = context;
  const views = new Views(context);

  app.post(
    "/stories/:id/view",
    {
      schema: {
        summary: "Say that one has seen a story",
        description: "`new_view` is true once for each viewer. One's own views are not counted, and never new.",
        tags,
        params: IdParams,
        response: { 200: Type.Object({ new_view: Type.Boolean() }) },
      },
    },
    async (request) => views.view(viewerOf(request).id, request.params.id),
  );

  app.get(
    "/stories/:id/viewers",
    {
      schema: {
        summary: "Who has seen one's story, latest first, and how they reacted",
        description:
          "Without those of whom one has blocked the other since, and those who are gone; `view_count` counts them. Also of a story that is over and kept. A short page is not the last one.",
        tags,
        params: IdParams,
        querystring: PageQuery,
        response: { 200: Viewers },
      },
    },
    async (request, reply) => {
      const viewer = viewerOf(request);
      const { id, view_count } = await requireOwnStory(db, viewer.id, request.params.id);
      const { limit, after } = pageRequest(request.query);
      const { rows, next } = await listViewers(db, viewer.id, { storyId: id, limit: limit + 1, after });
      const urls = await mediaUrls(context, viewer.id);
      const page = sendPage(request, reply, {
        rows,
        limit,
        next,
        publicUrl: config.public_url,
        position: (row) => ({ at: row.viewed_at, id: row.id }),
        item: (row) => ({
          user: toUser(row, urls),
          viewed_at: row.viewed_at.toISOString(),
          reaction: row.reaction,
        }),
      });
      return { ...page, view_count };
    },
  );

  app.post(
    "/stories/:id/reaction",
    {
      schema: {
        summary: "React to a story with one emoji",
        description:
          "It takes the place of the one before, and its author alone sees it. Who reacts has seen the story.",
        tags,
        params: IdParams,
        body: Type.Object({ emoji: Type.String({ maxLength: LONGEST }) }, { additionalProperties: false }),
        response: { 200: Type.Object({ reaction: Type.String() }) },
      },
    },
    async (request) => views.react(viewerOf(request).id, request.params.id, request.body.emoji),
  );

  app.delete(
    "/stories/:id/reaction",
    {
      schema: {
        summary: "Take one's reaction to a story back",
        tags,
        params: IdParams,
        response: { 200: Type.Object({ reaction: Type.Null() }) },
      },
    },
    async (request) => views.unreact(viewerOf(request).id, request.params.id),
  );
}
