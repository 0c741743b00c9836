import { Type } from "typebox";
import type { Context } from "../../src/context.ts";
import { viewerOf } from "../../src/http/auth.ts";
import { PageQuery, pageOf, rankedPageRequest, sendPage } from "../../src/http/paging.ts";
import type { App } from "../../src/http/types.ts";
import { RelatedUser, toRelatedUser } from "../graph/index.ts";
import { mediaUrls } from "../tickets/index.ts";
import { LONGEST_QUERY, searchPeople } from "./search.ts";
import { suggestPeople } from "./store.ts";

const tags = ["Search"];

const SearchQuery = Type.Object({
  q: Type.String({
    description: `1 to ${LONGEST_QUERY} characters: the beginning of a user name, with or without its @, or of words of a display name`,
  }),
  ...PageQuery.properties,
});

const Suggestion = Type.Object({
  ...RelatedUser.properties,
  followed_by_count: Type.Integer({ description: "how many of those whom the viewer follows follow them" }),
});

export async function searchRoutes(app: App, context: Context): Promise<void> {
  const { config, db } = context;

  app.get(
    "/search/users",
    {
      config: { limit: "search" },
      schema: {
        summary: "Find people by name: those one follows first, then who fits best",
        description:
          "Case, accents and a wrong letter in a word do not matter; the last word may be begun only. A search shows some hundreds of people at most; a longer `q` finds the others.",
        tags,
        querystring: SearchQuery,
        response: { 200: pageOf(RelatedUser) },
      },
    },
    async (request, reply) => {
      const viewer = viewerOf(request);
      const { limit, after } = rankedPageRequest(request.query);
      const rows = await searchPeople(db, viewer.id, request.query.q, { limit: limit + 1, after });
      const urls = await mediaUrls(context, viewer.id);
      return sendPage(request, reply, {
        rows,
        limit,
        publicUrl: config.public_url,
        position: ({ rank, id }) => ({ rank, id }),
        item: (row) => toRelatedUser(row, urls),
      });
    },
  );

  app.get(
    "/me/suggestions",
    {
      schema: {
        summary: "People to follow: followed by those one follows, most often followed first",
        description:
          "The latest 200 follows of the viewer's latest 200 count. Where they lead to nobody, as for who follows nobody, it is popular accounts, their `followed_by_count` 0.",
        tags,
        querystring: PageQuery,
        response: { 200: pageOf(Suggestion) },
      },
    },
    async (request, reply) => {
      const viewer = viewerOf(request);
      const { limit, after } = rankedPageRequest(request.query);
      const rows = await suggestPeople(db, viewer.id, { limit: limit + 1, after });
      const urls = await mediaUrls(context, viewer.id);
      return sendPage(request, reply, {
        rows,
        limit,
        publicUrl: config.public_url,
        position: ({ rank, id }) => ({ rank, id }),
        item: (row) => ({ ...toRelatedUser(row, urls), followed_by_count: row.followed_by_count }),
      });
    },
  );
}
