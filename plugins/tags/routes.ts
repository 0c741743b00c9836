import { Type } from "typebox";
import type { Context } from "../../src/context.ts";
import { viewerOf } from "../../src/http/auth.ts";
import { PageQuery, pageOf, pageRequest, rankedPageRequest, sendPage } from "../../src/http/paging.ts";
import type { App } from "../../src/http/types.ts";
import { normalizeTag } from "../entities/index.ts";
import { Post, sendPosts } from "../posts/index.ts";
import { listTagged, POSTS_COUNTED } from "./list-store.ts";
import { searchTags } from "./tags.ts";

const tags = ["Tags"];
const TagParams = Type.Object({ tag: Type.String({ description: "with or without its sign, in any case" }) });
const FoundTag = Type.Object({
  tag: Type.String({ description: "without its sign" }),
  post_count: Type.Integer({
    description: `posts that the viewer may see, of the latest ${POSTS_COUNTED}: more are not counted`,
  }),
});

export async function tagRoutes(app: App, context: Context): Promise<void> {
  const { config, db } = context;

  app.get(
    "/tags/:tag/posts",
    {
      schema: {
        summary: "Published posts with a hashtag in their caption, latest first",
        description: "Those that one may see; none for a tag that nobody uses. A short page is not the last one.",
        tags,
        params: TagParams,
        querystring: PageQuery,
        response: { 200: pageOf(Post) },
      },
    },
    async (request, reply) => {
      const viewer = viewerOf(request);
      const { limit, after } = pageRequest(request.query);
      const tag = normalizeTag(request.params.tag);
      const tagged = tag === null ? { rows: [] } : await listTagged(db, viewer.id, tag, { limit: limit + 1, after });
      return sendPosts(request, reply, context, { ...tagged, limit });
    },
  );

  app.get(
    "/search/tags",
    {
      config: { limit: "search" },
      schema: {
        summary: "Find hashtags by their beginning, the most used first",
        description:
          "Those of posts that one may see. A search shows some tens of tags at most; a longer `q` finds the others.",
        tags,
        querystring: Type.Object({
          q: Type.String({ description: "the beginning of a hashtag, with or without its sign" }),
          ...PageQuery.properties,
        }),
        response: { 200: pageOf(FoundTag) },
      },
    },
    async (request, reply) => {
      const viewer = viewerOf(request);
      const { limit, after } = rankedPageRequest(request.query);
      const rows = await searchTags(db, viewer.id, request.query.q, { limit: limit + 1, after });
      return sendPage(request, reply, {
        rows,
        limit,
        publicUrl: config.public_url,
        position: ({ rank, id }) => ({ rank, id }),
        item: ({ tag, post_count }) => ({ tag, post_count }),
      });
    },
  );
}
