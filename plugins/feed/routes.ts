import { Type } from "typebox";
import type { Context } from "../../src/context.ts";
import { viewerOf } from "../../src/http/auth.ts";
import { PageQuery, pageOf, pageRequest, sendPage } from "../../src/http/paging.ts";
import type { App } from "../../src/http/types.ts";
import { Post } from "../posts/index.ts";
import { positionOf } from "./entries.ts";
import { feedOf } from "./feed.ts";
import type { FeedItem } from "./page.ts";

const HEAD = Buffer.from('{"items":[');
const COMMA = Buffer.from(",");

/** What it says, which the handler sends as bytes. */
const FeedJson = Type.Unsafe<Buffer>(Type.Object({ ...pageOf(Post).properties, degraded: Type.Boolean() }));

export async function feedRoutes(app: App, context: Context): Promise<void> {
  const { config } = context;
  const feed = feedOf(context);
  app.get(
    "/feed",
    {
      schema: {
        summary: "The home feed: posts of those one follows and one's own, latest first",
        description:
          "`degraded` is true when it was made without a part of the system. A short page is not the end; a null `next_cursor` is.",
        tags: ["Feed"],
        querystring: PageQuery,
        response: { 200: FeedJson },
      },
    },
    async (request, reply) => {
      const { limit, after } = pageRequest(request.query);
      const page = await feed.page(viewerOf(request).id, { limit, after });
      const { items, next_cursor } = sendPage(request, reply, {
        rows: page.items,
        limit,
        publicUrl: config.public_url,
        position: (item) => positionOf(item.entry),
        item: (item) => item,
        next: page.next,
      });
      return reply
        .type("application/json; charset=utf-8")
        .send(bodyOf(items, { next_cursor, degraded: page.degraded }));
    },
  );
}

/** The posts are JSON already, most of them made for somebody else before. */
function bodyOf(items: readonly FeedItem[], rest: { next_cursor: string | null; degraded: boolean }): Buffer {
  const parts: Buffer[] = [HEAD];
  for (const { json } of items) {
    if (parts.length > 1) parts.push(COMMA);
    parts.push(...json);
  }
  parts.push(Buffer.from(`],${JSON.stringify(rest).slice(1)}`));
  return Buffer.concat(parts);
}
