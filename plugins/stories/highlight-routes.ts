import { Type } from "typebox";
import type { Context } from "../../src/context.ts";
import { viewerOf } from "../../src/http/auth.ts";
import { Id, IdParams } from "../../src/http/ids.ts";
import { PageQuery, pageOf, pageRequest, sendPage } from "../../src/http/paging.ts";
import type { App } from "../../src/http/types.ts";
import { UserParams } from "../accounts/index.ts";
import { requireSeen } from "../graph/index.ts";
import { mediaUrls } from "../tickets/index.ts";
import { Highlight, toHighlight } from "./highlight-schemas.ts";
import { listHighlightStories, listHighlights } from "./highlight-store.ts";
import {
  addToHighlight,
  changeHighlight,
  createHighlight,
  MOST_STORIES,
  removeHighlight,
  requireHighlight,
  TITLE_LENGTH,
  takeFromHighlight,
} from "./highlights.ts";
import { sendStories } from "./pages.ts";
import { Story } from "./schemas.ts";

const tags = ["Stories"];
const Title = Type.String({ description: `1 to ${TITLE_LENGTH} characters` });
const StoryParams = Type.Object({ id: Id(), story_id: Id() });
const Highlighted = Type.Object({ highlighted: Type.Boolean() });

export async function highlightRoutes(app: App, context: Context): Promise<void> {
  const { config, db } = context;

  app.post(
    "/me/highlights",
    {
      schema: {
        summary: "Make a highlight: stories that are shown for longer, under a title",
        description:
          "Of one's own stories that are not over, or kept. They are kept from then on, and shown in it to those whom they are for.",
        tags,
        body: Type.Object(
          { title: Title, story_ids: Type.Optional(Type.Array(Id(), { maxItems: MOST_STORIES })) },
          { additionalProperties: false },
        ),
        response: { 201: Highlight },
      },
    },
    async (request, reply) => {
      const { title, story_ids = [] } = request.body;
      return reply.code(201).send(await createHighlight(context, viewerOf(request).id, { title, story_ids }));
    },
  );

  app.patch(
    "/me/highlights/:id",
    {
      schema: {
        summary: "Give a highlight another title",
        tags,
        params: IdParams,
        body: Type.Object({ title: Type.Optional(Title) }, { additionalProperties: false }),
        response: { 200: Highlight },
      },
    },
    async (request) => {
      const viewer = viewerOf(request);
      const row = await changeHighlight(db, viewer.id, request.params.id, request.body);
      return toHighlight(row, await mediaUrls(context, viewer.id));
    },
  );

  app.delete(
    "/me/highlights/:id",
    {
      schema: {
        summary: "Delete a highlight; what is in it stays in the archive",
        tags,
        params: IdParams,
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      await removeHighlight(db, viewerOf(request).id, request.params.id);
      return reply.code(204).send(null);
    },
  );

  app.post(
    "/me/highlights/:id/stories/:story_id",
    {
      schema: {
        summary: "Put a story of one's own into a highlight",
        description: `One that is not over, or kept; it is kept from then on. ${MOST_STORIES} at most are in one.`,
        tags,
        params: StoryParams,
        response: { 200: Highlighted },
      },
    },
    async (request) => addToHighlight(db, viewerOf(request).id, request.params.id, request.params.story_id),
  );

  app.delete(
    "/me/highlights/:id/stories/:story_id",
    {
      schema: {
        summary: "Take a story out of a highlight; it stays in the archive",
        tags,
        params: StoryParams,
        response: { 200: Highlighted },
      },
    },
    async (request) => takeFromHighlight(db, viewerOf(request).id, request.params.id, request.params.story_id),
  );

  app.get(
    "/users/:username/highlights",
    {
      schema: {
        summary: "An author's highlights, the latest made first",
        description: "Those in which there is a story for the viewer; of one's own also those with none.",
        tags,
        params: UserParams,
        querystring: PageQuery,
        response: { 200: pageOf(Highlight) },
      },
    },
    async (request, reply) => {
      const viewer = viewerOf(request);
      const author = await requireSeen(db, viewer.id, request.params.username);
      const { limit, after } = pageRequest(request.query);
      const rows = await listHighlights(db, viewer.id, { authorId: author.id, limit: limit + 1, after });
      const urls = await mediaUrls(context, viewer.id);
      return sendPage(request, reply, {
        rows,
        limit,
        publicUrl: config.public_url,
        position: (row) => ({ at: row.created_at, id: row.id }),
        item: (row) => toHighlight(row, urls),
      });
    },
  );

  app.get(
    "/highlights/:id",
    {
      schema: {
        summary: "A highlight in which there is a story for the viewer, or one's own",
        tags,
        params: IdParams,
        response: { 200: Highlight },
      },
    },
    async (request) => {
      const viewer = viewerOf(request);
      const highlight = await requireHighlight(db, viewer.id, request.params.id);
      return toHighlight(highlight, await mediaUrls(context, viewer.id));
    },
  );

  app.get(
    "/highlights/:id/stories",
    {
      schema: {
        summary: "The stories in a highlight that are for the viewer, the oldest first",
        description: "Also those that are over, which are not counted as seen any more.",
        tags,
        params: IdParams,
        querystring: PageQuery,
        response: { 200: pageOf(Story) },
      },
    },
    async (request, reply) => {
      const viewer = viewerOf(request);
      const highlight = await requireHighlight(db, viewer.id, request.params.id);
      const { limit, after } = pageRequest(request.query);
      const page = { highlightId: highlight.id, limit: limit + 1, after };
      const rows = await listHighlightStories(db, viewer.id, page);
      return sendStories(request, reply, context, { rows, limit });
    },
  );
}
