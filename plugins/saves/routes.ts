import { type Static, Type } from "typebox";
import type { Context } from "../../src/context.ts";
import { viewerOf } from "../../src/http/auth.ts";
import { IdParams } from "../../src/http/ids.ts";
import { Nullable, PageQuery, pageOf, pageRequest, sendPage } from "../../src/http/paging.ts";
import type { App } from "../../src/http/types.ts";
import { Post, sendPosts } from "../posts/index.ts";
import { NAME_LENGTH } from "./names.ts";
import { removeCollection, rename, requireCollection, save, unsave } from "./saves.ts";
import { type CollectionRow, listCollections, listSaved, POSTS_COUNTED } from "./store.ts";

const tags = ["Saves"];
const CollectionParams = Type.Object({ name: Type.String() });
const SaveAnswer = Type.Object({ saved: Type.Boolean() });

const OfCollection = {
  collection: Type.Optional(Type.String({ description: "name of a collection, in any case" })),
};

const Collection = Type.Object({
  name: Type.String(),
  post_count: Type.Integer({
    description: `posts that one may see, of the latest ${POSTS_COUNTED} in it: more are not counted`,
  }),
  created_at: Type.String({ format: "date-time" }),
});

function toCollection({ name, post_count, created_at }: CollectionRow): Static<typeof Collection> {
  return { name, post_count, created_at: created_at.toISOString() };
}

export async function saveRoutes(app: App, context: Context): Promise<void> {
  const { config, db } = context;

  app.post(
    "/posts/:id/save",
    {
      schema: {
        summary: "Save a post, for oneself only",
        description: `With \`collection\` also into that one, which is made if there is none: 1 to ${NAME_LENGTH} characters. Nobody is told.`,
        tags,
        params: IdParams,
        body: Nullable(Type.Object(OfCollection, { additionalProperties: false })),
        response: { 200: SaveAnswer },
      },
    },
    async (request) => save(context, viewerOf(request).id, request.params.id, request.body?.collection ?? null),
  );

  app.delete(
    "/posts/:id/save",
    {
      schema: {
        summary: "Unsave a post, or take it out of one collection",
        tags,
        params: IdParams,
        querystring: Type.Object(OfCollection),
        response: { 200: SaveAnswer },
      },
    },
    async (request) => ({
      saved: await unsave(context, viewerOf(request).id, request.params.id, request.query.collection ?? null),
    }),
  );

  app.get(
    "/me/saved",
    {
      schema: {
        summary: "Posts that one has saved and may still see, the latest saved first",
        description: "A short page is not the last one.",
        tags,
        querystring: Type.Object({ ...OfCollection, ...PageQuery.properties }),
        response: { 200: pageOf(Post) },
      },
    },
    async (request, reply) => {
      const viewer = viewerOf(request);
      const { collection } = request.query;
      const { limit, after } = pageRequest(request.query);
      const collectionId = collection === undefined ? null : await requireCollection(db, viewer.id, collection);
      const saved = await listSaved(db, viewer.id, { collectionId, limit: limit + 1, after });
      return sendPosts(request, reply, context, { ...saved, limit });
    },
  );

  app.get(
    "/me/collections",
    {
      schema: {
        summary: "One's collections of saved posts, the latest made first",
        tags,
        querystring: PageQuery,
        response: { 200: pageOf(Collection) },
      },
    },
    async (request, reply) => {
      const { limit, after } = pageRequest(request.query);
      const rows = await listCollections(db, viewerOf(request).id, { limit: limit + 1, after });
      return sendPage(request, reply, {
        rows,
        limit,
        publicUrl: config.public_url,
        position: (row) => ({ at: row.created_at, id: row.id }),
        item: toCollection,
      });
    },
  );

  app.patch(
    "/me/collections/:name",
    {
      schema: {
        summary: "Give a collection another name",
        tags,
        params: CollectionParams,
        body: Type.Object({ name: Type.String() }, { additionalProperties: false }),
        response: { 200: Collection },
      },
    },
    async (request) =>
      toCollection(await rename(context, viewerOf(request).id, request.params.name, request.body.name)),
  );

  app.delete(
    "/me/collections/:name",
    {
      schema: {
        summary: "Delete a collection; what is in it stays saved",
        tags,
        params: CollectionParams,
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      await removeCollection(context, viewerOf(request).id, request.params.name);
      return reply.code(204).send(null);
    },
  );
}
