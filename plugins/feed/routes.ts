import { Type } from "typebox";
import type { Context } from "../../src/context.ts";
import { viewerOf } from "../../src/http/auth.ts";
import { PageQuery, pageOf, pageRequest, sendPage } from "../../src/http/paging.ts";
import type { App } from "../../src/http/types.ts";
import { Post, postsByIds, toPost } from "../posts/index.ts";
import { mediaUrls } from "../tickets/index.ts";
import { feedPage } from "./store.ts";

export async function feedRoutes(app: App, context: Context): Promise<void> {
  const { config, db } = context;
  app.get(
    "/feed",
    {
      schema: {
        summary: "The home feed: posts of those one follows and one's own, latest first",
        description:
          "`degraded` is true when it was made without a part of the system. A short page is not the end; a null `next_cursor` is.",
        tags: ["Feed"],
        querystring: PageQuery,
        response: { 200: Type.Object({ ...pageOf(Post).properties, degraded: Type.Boolean() }) },
      },
    },
    async (request, reply) => {
      const viewer = viewerOf(request);
      const { limit, after } = pageRequest(request.query);
      const rows = await feedPage(db, viewer.id, { limit: limit + 1, after });
      const posts = await postsByIds(
        db,
        viewer.id,
        rows.slice(0, limit).map((row) => row.id),
      );
      const { next_cursor } = sendPage(request, reply, {
        rows,
        limit,
        publicUrl: config.public_url,
        position: (row) => ({ at: row.published_at, id: row.id }),
        item: (row) => row.id,
      });
      const urls = await mediaUrls(context, viewer.id);
      return { items: posts.map((post) => toPost(post, urls)), next_cursor, degraded: false };
    },
  );
}
