import type { FastifyReply, FastifyRequest } from "fastify";
import type { Context } from "../../src/context.ts";
import { viewerOf } from "../../src/http/auth.ts";
import { type Page, type Position, sendPage } from "../../src/http/paging.ts";
import { mediaUrls } from "../tickets/index.ts";
import { type Post, toPost } from "./schemas.ts";
import { postsByIds } from "./store.ts";

/**
 * Cuts a list of posts to a page, as `sendPage`, and shows those on it. One that was deleted since the list was read is
 * missing: the page is then shorter, not ended.
 */
export async function sendPosts(
  request: FastifyRequest,
  reply: FastifyReply,
  context: Pick<Context, "config" | "db">,
  list: { rows: readonly Position[]; limit: number; next?: Position | null },
): Promise<Page<Post>> {
  const viewer = viewerOf(request);
  const { items: ids, next_cursor } = sendPage(request, reply, {
    ...list,
    publicUrl: context.config.public_url,
    position: (row) => row,
    item: (row) => row.id,
  });
  const [posts, urls] = await Promise.all([postsByIds(context.db, viewer.id, ids), mediaUrls(context, viewer.id)]);
  return { items: posts.map((post) => toPost(post, urls)), next_cursor };
}
