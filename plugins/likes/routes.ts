import { Type } from "typebox";
import type { Context } from "../../src/context.ts";
import { viewerOf } from "../../src/http/auth.ts";
import { IdParams } from "../../src/http/ids.ts";
import { PageQuery, pageOf, pageRequest, sendPage } from "../../src/http/paging.ts";
import type { App } from "../../src/http/types.ts";
import { RelatedUser, toRelatedUser } from "../graph/index.ts";
import { requirePost } from "../posts/index.ts";
import { mediaUrls } from "../tickets/index.ts";
import { Likes } from "./likes.ts";
import { listLikers } from "./store.ts";

const tags = ["Likes"];
const LikeAnswer = Type.Object({
  success: Type.Literal(true),
  idempotent: Type.Boolean({ description: "nothing was changed: it was so already" }),
  like_count: Type.Integer({ description: "of this moment, one's own like included" }),
});

export async function likeRoutes(app: App, context: Context): Promise<void> {
  const { config, db } = context;
  const likes = new Likes(context);
  app.addHook("onClose", () => likes.stop());

  app.post(
    "/posts/:id/like",
    {
      config: { limit: "like" },
      schema: { summary: "Like a post", tags, params: IdParams, response: { 200: LikeAnswer } },
    },
    async (request) => likes.like(viewerOf(request).id, request.params.id),
  );

  app.delete(
    "/posts/:id/like",
    { schema: { summary: "Take a like back", tags, params: IdParams, response: { 200: LikeAnswer } } },
    async (request) => likes.unlike(viewerOf(request).id, request.params.id),
  );

  app.get(
    "/posts/:id/likes",
    {
      schema: {
        summary: "Who likes a post, latest first",
        description:
          "Those whom the viewer may be shown; `like_count` counts the others too. A short page is not the last one.",
        tags,
        params: IdParams,
        querystring: PageQuery,
        response: { 200: pageOf(RelatedUser) },
      },
    },
    async (request, reply) => {
      const viewer = viewerOf(request);
      const post = await requirePost(db, viewer.id, request.params.id);
      const { limit, after } = pageRequest(request.query);
      const { rows, next } = await listLikers(db, viewer.id, { postId: post.id, limit: limit + 1, after });
      const urls = await mediaUrls(context, viewer.id);
      return sendPage(request, reply, {
        rows,
        limit,
        next,
        publicUrl: config.public_url,
        position: (row) => ({ at: row.liked_at, id: row.id }),
        item: (row) => toRelatedUser(row, urls),
      });
    },
  );
}
