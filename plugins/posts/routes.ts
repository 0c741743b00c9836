import multipart from "@fastify/multipart";
import { Type } from "typebox";
import type { Context } from "../../src/context.ts";
import { viewerOf } from "../../src/http/auth.ts";
import { invalidRequest } from "../../src/http/errors.ts";
import { IdParams } from "../../src/http/ids.ts";
import { Nullable, PageQuery, pageOf, pageRequest } from "../../src/http/paging.ts";
import type { App } from "../../src/http/types.ts";
import { blankToNull } from "../../src/text.ts";
import { UserParams } from "../accounts/index.ts";
import { requireSeen } from "../graph/index.ts";
import { ALT_TEXT_LENGTH, largestUpload, receiveUpload, type UploadRules } from "../media/index.ts";
import { mediaUrls } from "../tickets/index.ts";
import { sendPosts } from "./pages.ts";
import { createPost, editPost, removePost, requirePost } from "./posts.ts";
import { CAPTION_LENGTH, Post, toPost } from "./schemas.ts";
import { listPublished } from "./store.ts";

const tags = ["Posts"];
const MAX_MEDIA = 10;

const PostForm = Type.Object({
  media: Type.Array(Type.String({ format: "binary" }), { minItems: 1, maxItems: MAX_MEDIA }),
  caption: Type.Optional(Type.String({ maxLength: CAPTION_LENGTH })),
  alt_text: Type.Optional(Type.Array(Type.String({ maxLength: ALT_TEXT_LENGTH }), { maxItems: MAX_MEDIA })),
});

export async function postRoutes(app: App, context: Context): Promise<void> {
  const { config, db } = context;
  await app.register(multipart);
  const rules: UploadRules = {
    pictures: { field: "media", max: MAX_MEDIA },
    fields: {
      caption: { times: 1, maxLength: CAPTION_LENGTH },
      alt_text: { times: MAX_MEDIA, maxLength: ALT_TEXT_LENGTH },
    },
  };

  app.post(
    "/posts",
    {
      config: { form: PostForm, limit: ["post", "upload"], largestBody: largestUpload(config, rules) },
      schema: {
        summary: "Post 1 to 10 pictures",
        description:
          "What `media` takes, as a client's `accept`: `image/jpeg,image/png,image/webp,image/gif,image/avif,image/heic,image/heif`. `alt_text` is given once a medium, in the order of the media. Answered as soon as the originals are safe; the post is published when all its pictures are processed.",
        tags,
        response: { 202: Type.Object({ post_id: Type.String(), status: Type.Literal("processing") }) },
      },
    },
    async (request, reply) => {
      const upload = await receiveUpload(request, context, rules);
      try {
        const altTexts = (upload.fields.get("alt_text") ?? []).map(blankToNull);
        if (altTexts.length > upload.pictures.length)
          throw invalidRequest({ reason: "there are more alt_texts than media" });
        const answer = await createPost(context, viewerOf(request).id, {
          pictures: upload.pictures,
          caption: blankToNull(upload.fields.get("caption")?.[0]),
          altTexts,
        });
        return await reply.code(202).send(answer);
      } finally {
        await upload.discard();
      }
    },
  );

  app.get(
    "/posts/:id",
    {
      schema: {
        summary: "A post",
        description:
          "While it is processed, or when that failed, only its author finds it; `status` and `failure` say how it stands.",
        tags,
        params: IdParams,
        response: { 200: Post },
      },
    },
    async (request) => {
      const viewer = viewerOf(request);
      return toPost(await requirePost(db, viewer.id, request.params.id), await mediaUrls(context, viewer.id));
    },
  );

  app.patch(
    "/posts/:id",
    {
      schema: {
        summary: "Change the caption, or close and open the comments",
        description: "What is not named stays.",
        tags,
        params: IdParams,
        body: Type.Object(
          {
            caption: Type.Optional(Nullable(Type.String({ maxLength: CAPTION_LENGTH }))),
            comments_closed: Type.Optional(Type.Boolean()),
          },
          { additionalProperties: false, minProperties: 1 },
        ),
        response: { 200: Post },
      },
    },
    async (request) => {
      const viewer = viewerOf(request);
      const { caption, ...others } = request.body;
      const changes = { ...others, ...(caption === undefined ? {} : { caption: blankToNull(caption) }) };
      const post = await editPost(context, viewer.id, request.params.id, changes);
      return toPost(post, await mediaUrls(context, viewer.id));
    },
  );

  app.delete(
    "/posts/:id",
    { schema: { summary: "Delete a post", tags, params: IdParams, response: { 204: Type.Null() } } },
    async (request, reply) => {
      await removePost(context, viewerOf(request).id, request.params.id);
      return reply.code(204).send(null);
    },
  );

  app.get(
    "/users/:username/posts",
    {
      schema: {
        summary: "An author's published posts, latest first",
        tags,
        params: UserParams,
        querystring: PageQuery,
        response: { 200: pageOf(Post) },
      },
    },
    async (request, reply) => {
      const viewer = viewerOf(request);
      const author = await requireSeen(db, viewer.id, request.params.username);
      const { limit, after } = pageRequest(request.query);
      const rows = await listPublished(db, { userId: author.id, limit: limit + 1, after });
      return sendPosts(request, reply, context, {
        rows: rows.map(({ id, published_at }) => ({ id, at: published_at })),
        limit,
      });
    },
  );
}
