import multipart from "@fastify/multipart";
import { Type } from "typebox";
import type { Context } from "../../src/context.ts";
import { viewerOf } from "../../src/http/auth.ts";
import { Nullable } from "../../src/http/paging.ts";
import type { App } from "../../src/http/types.ts";
import { Account, type AccountRow, toAccount, toUser } from "../accounts/index.ts";
import { largestUpload, receiveUpload, type UploadRules } from "../media/index.ts";
import { mediaUrls } from "../tickets/index.ts";
import { present, removeAvatar, uploadAvatar } from "./avatars.ts";
import { uploadOf } from "./store.ts";

const tags = ["Accounts"];

const AvatarForm = Type.Object({ file: Type.String({ format: "binary" }) });

const RULES: UploadRules = { pictures: { field: "file", max: 1 }, fields: {} };

/** One's own avatar, and the latest upload until it is that. */
const Avatar = Type.Object({
  avatar_url: Nullable(Type.String()),
  upload: Nullable(
    Type.Object({
      status: Type.Union([Type.Literal("processing"), Type.Literal("failed")]),
      failure: Nullable(Type.Object({ code: Type.String(), message: Type.String() })),
    }),
  ),
});

export async function avatarRoutes(app: App, context: Context): Promise<void> {
  const { db } = context;
  await app.register(multipart);
  const shown = async (account: AccountRow) => toAccount(account, await mediaUrls(context, account.id));

  app.put(
    "/me/avatar",
    {
      config: { form: AvatarForm, limit: "upload", largestBody: largestUpload(context.config, RULES) },
      schema: {
        summary: "Upload an avatar",
        description:
          "Answered as soon as the original is safe. `avatar_url` stays what it was until the picture has been processed; GET /me/avatar tells how it stands.",
        tags,
        response: { 200: Account },
      },
    },
    async (request, reply) => {
      const upload = await receiveUpload(request, context, RULES);
      try {
        const account = await uploadAvatar(context, viewerOf(request).id, upload.pictures);
        return await reply.send(await shown(account));
      } finally {
        await upload.discard();
      }
    },
  );

  app.get(
    "/me/avatar",
    {
      schema: {
        summary: "One's own avatar, and how the latest upload stands",
        description: "`upload` is null when there is none that waits or has failed.",
        tags,
        response: { 200: Avatar },
      },
    },
    async (request) => {
      const viewer = viewerOf(request);
      const upload = await uploadOf(db, viewer.id);
      const { avatar_url } = toUser(await present(db, viewer.id), await mediaUrls(context, viewer.id));
      if (!upload) return { avatar_url, upload: null };
      const status = upload.failure ? ("failed" as const) : ("processing" as const);
      return { avatar_url, upload: { status, failure: upload.failure } };
    },
  );

  app.delete(
    "/me/avatar",
    { schema: { summary: "Take one's avatar away", tags, response: { 200: Account } } },
    async (request) => shown(await removeAvatar(context, viewerOf(request).id)),
  );
}
