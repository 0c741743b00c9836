import type { FastifyReply, FastifyRequest } from "fastify";
import { Type } from "typebox";
import type { Context } from "../../src/context.ts";
import { viewerOf } from "../../src/http/auth.ts";
import { Id, IdParams } from "../../src/http/ids.ts";
import { Nullable, PageQuery, pageOf, pageRequest, sendPage } from "../../src/http/paging.ts";
import type { App } from "../../src/http/types.ts";
import { requirePost } from "../posts/index.ts";
import { mediaUrls } from "../tickets/index.ts";
import { createComment, deleteComment, requireComment } from "./comments.ts";
import { setLiked } from "./likes.ts";
import { type CommentList, listComments } from "./list-store.ts";
import { COMMENT_LENGTH, Comment, CommentLike, toComment } from "./schemas.ts";

const tags = ["Comments"];
const CommentPage = pageOf(Comment);

export async function commentRoutes(app: App, context: Context): Promise<void> {
  const { config, db } = context;

  const sendList = async (request: FastifyRequest, reply: FastifyReply, list: CommentList) => {
    const viewer = viewerOf(request);
    const { limit, after } = pageRequest(request.query as { limit?: number; cursor?: string });
    const { rows, next } = await listComments(db, viewer.id, list, { limit: limit + 1, after });
    const urls = await mediaUrls(context, viewer.id);
    return sendPage(request, reply, {
      rows,
      limit,
      next,
      publicUrl: config.public_url,
      position: (row) => ({ at: row.created_at, id: row.id }),
      item: (row) => toComment(row, urls),
    });
  };

  app.get(
    "/posts/:id/comments",
    {
      schema: {
        summary: "The comments on a post without their replies, latest first",
        description: "Without those of people whom one blocks, or who block one.",
        tags,
        params: IdParams,
        querystring: PageQuery,
        response: { 200: CommentPage },
      },
    },
    async (request, reply) => {
      const post = await requirePost(db, viewerOf(request).id, request.params.id);
      return sendList(request, reply, { post_id: post.id });
    },
  );

  app.post(
    "/posts/:id/comments",
    {
      config: { limit: "comment" },
      schema: {
        summary: "Comment on a post, or reply to a comment",
        description:
          "`parent_id` is what is replied to. Replies have one level: a reply to a reply becomes one to the same comment. Refused where the author of the post has closed its comments.",
        tags,
        params: IdParams,
        body: Type.Object(
          {
            text: Type.String({ maxLength: COMMENT_LENGTH }),
            parent_id: Type.Optional(Nullable(Id())),
          },
          { additionalProperties: false },
        ),
        response: { 201: Comment },
      },
    },
    async (request, reply) => {
      const { text, parent_id = null } = request.body;
      const comment = await createComment(context, viewerOf(request).id, request.params.id, { text, parent_id });
      return reply.code(201).send(comment);
    },
  );

  app.delete(
    "/comments/:id",
    {
      schema: {
        summary: "Delete a comment with its replies",
        description: "By who wrote it, or whose post it is on.",
        tags,
        params: IdParams,
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      await deleteComment(context, viewerOf(request).id, request.params.id);
      return reply.code(204).send(null);
    },
  );

  app.get(
    "/comments/:id/replies",
    {
      schema: {
        summary: "The replies to a comment, oldest first",
        tags,
        params: IdParams,
        querystring: PageQuery,
        response: { 200: CommentPage },
      },
    },
    async (request, reply) => {
      const comment = await requireComment(db, viewerOf(request).id, request.params.id);
      return sendList(request, reply, { parent_id: comment.id });
    },
  );

  for (const [method, liked, summary] of [
    ["POST", true, "Like a comment"],
    ["DELETE", false, "Take back the like on a comment"],
  ] as const) {
    app.route({
      method,
      url: "/comments/:id/like",
      // Taking back is not limited, as nowhere.
      config: liked ? { limit: "like" } : {},
      schema: { summary, tags, params: IdParams, response: { 200: CommentLike } },
      handler: async (request: FastifyRequest<{ Params: { id: string } }>) =>
        setLiked(context, viewerOf(request).id, request.params.id, liked),
    });
  }
}
