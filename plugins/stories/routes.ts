import multipart from "@fastify/multipart";
import { Type } from "typebox";
import { Value } from "typebox/value";
import type { Context } from "../../src/context.ts";
import { viewerOf } from "../../src/http/auth.ts";
import { invalidRequest, invalidValue } from "../../src/http/errors.ts";
import { IdParams } from "../../src/http/ids.ts";
import { PageQuery, pageOf, pageRequest } from "../../src/http/paging.ts";
import type { App } from "../../src/http/types.ts";
import { blankToNull } from "../../src/text.ts";
import { UserParams } from "../accounts/index.ts";
import { requireSeen } from "../graph/index.ts";
import { ALT_TEXT_LENGTH, largestUpload, receiveUpload, type UploadRules } from "../media/index.ts";
import { mediaUrls } from "../tickets/index.ts";
import { sendStories } from "./pages.ts";
import { AudienceName, DURATION, Story, toStory } from "./schemas.ts";
import { listStories } from "./store.ts";
import { createStory, removeStory, requireStory } from "./stories.ts";

const tags = ["Stories"];

const StoryForm = Type.Object({
  media: Type.String({ format: "binary" }),
  alt_text: Type.Optional(Type.String({ maxLength: ALT_TEXT_LENGTH })),
  audience: Type.Optional(AudienceName),
  duration: Type.Optional(Type.Integer(DURATION)),
});

/** By default as many as there can be, so that who asks for one page has all that people post in a day. */
const StoriesQuery = Type.Object({
  ...PageQuery.properties,
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, default: 100 })),
});

export async function storyRoutes(app: App, context: Context): Promise<void> {
  const { config, db } = context;
  await app.register(multipart);
  const rules: UploadRules = {
    pictures: { field: "media", max: 1 },
    fields: {
      alt_text: { times: 1, maxLength: ALT_TEXT_LENGTH },
      audience: { times: 1, maxLength: 20 },
      duration: { times: 1, maxLength: 10 },
    },
  };

  app.post(
    "/stories",
    {
      config: { form: StoryForm, limit: ["post", "upload"], largestBody: largestUpload(config, rules) },
      schema: {
        summary: "Post a picture as a story",
        description:
          "Answered as soon as the original is safe. The story is published when the picture is processed, and over `TINTYPE_STORIES_LIFETIME` later. `audience` is `everyone`, where it is left out, or `close_friends`; `duration` is for how many seconds it is to be shown, 1 to 60.",
        tags,
        response: { 202: Type.Object({ story_id: Type.String(), status: Type.Literal("processing") }) },
      },
    },
    async (request, reply) => {
      const upload = await receiveUpload(request, context, rules);
      try {
        const audience = upload.fields.get("audience")?.[0] ?? "everyone";
        if (!Value.Check(AudienceName, audience)) throw wrongValue("audience", "must be everyone or close_friends");
        const duration = durationOf(upload.fields.get("duration")?.[0]);
        const answer = await createStory(context, viewerOf(request).id, {
          pictures: upload.pictures,
          alt_text: blankToNull(upload.fields.get("alt_text")?.[0]),
          audience,
          duration,
        });
        return await reply.code(202).send(answer);
      } finally {
        await upload.discard();
      }
    },
  );

  app.get(
    "/users/:username/stories",
    {
      schema: {
        summary: "An author's stories that are not over, the oldest first",
        description: "Those that are for the viewer; one's own are all, but only such as are published.",
        tags,
        params: UserParams,
        querystring: StoriesQuery,
        response: { 200: pageOf(Story) },
      },
    },
    async (request, reply) => {
      const viewer = viewerOf(request);
      const author = await requireSeen(db, viewer.id, request.params.username);
      const { limit, after } = pageRequest(request.query);
      const rows = await listStories(db, viewer.id, { authorId: author.id, limit: limit + 1, after });
      return sendStories(request, reply, context, { rows, limit });
    },
  );

  app.get(
    "/stories/:id",
    {
      schema: {
        summary: "A story that is not over",
        description:
          "While it is processed, or when that failed, only its author finds it; `status` and `failure` say how it stands.",
        tags,
        params: IdParams,
        response: { 200: Story },
      },
    },
    async (request) => {
      const viewer = viewerOf(request);
      return toStory(await requireStory(db, viewer.id, request.params.id), await mediaUrls(context, viewer.id));
    },
  );

  app.delete(
    "/stories/:id",
    {
      schema: {
        summary: "Delete a story, also one that is kept in the archive",
        tags,
        params: IdParams,
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      await removeStory(context, viewerOf(request).id, request.params.id);
      return reply.code(204).send(null);
    },
  );
}

/** @throws 400 for what is no whole number, 422 for one that is too small or too large. */
function durationOf(text: string | undefined): number | null {
  if (text === undefined || text.trim() === "") return null;
  // Number() alone would take 0x5 and 1e1 too.
  if (!/^-?\d+$/.test(text.trim())) throw invalidRequest({ reason: "duration must be a whole number of seconds" });
  const seconds = Number(text);
  if (seconds >= DURATION.minimum && seconds <= DURATION.maximum) return seconds;
  throw wrongValue("duration", `must be ${DURATION.minimum} to ${DURATION.maximum} seconds`);
}

/** A field of the form whose value breaks a rule, as of a JSON body. */
function wrongValue(field: string, message: string): Error {
  return invalidValue({ reason: `${field} ${message}` }, { details: { fields: [{ field, message }] } });
}
