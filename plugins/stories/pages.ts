import type { FastifyReply, FastifyRequest } from "fastify";
import type { Context } from "../../src/context.ts";
import { viewerOf } from "../../src/http/auth.ts";
import { type Page, sendPage } from "../../src/http/paging.ts";
import { mediaUrls } from "../tickets/index.ts";
import { type Story, toStory } from "./schemas.ts";
import type { PublishedRow } from "./store.ts";

/** Sends a page of stories in the order of their publication, either way. `rows` and `limit` are as in `sendPage`. */
export async function sendStories(
  request: FastifyRequest,
  reply: FastifyReply,
  context: Pick<Context, "config" | "db">,
  page: { rows: readonly PublishedRow[]; limit: number },
): Promise<Page<Story>> {
  const urls = await mediaUrls(context, viewerOf(request).id);
  return sendPage(request, reply, {
    ...page,
    publicUrl: context.config.public_url,
    position: (row) => ({ at: row.published_at, id: row.id }),
    item: (row) => toStory(row, urls),
  });
}
