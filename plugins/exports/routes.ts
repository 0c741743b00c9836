import { Type } from "typebox";
import { validate as isUuid } from "uuid";
import type { Context } from "../../src/context.ts";
import { viewerOf } from "../../src/http/auth.ts";
import { Id } from "../../src/http/ids.ts";
import { sendObject } from "../../src/http/objects.ts";
import { Nullable } from "../../src/http/paging.ts";
import type { App } from "../../src/http/types.ts";
import { exportNotFound } from "./errors.ts";
import { exportState, openExport, requestExport, withdrawExport } from "./exports.ts";

const tags = ["Accounts"];

const ExportState = Type.Object({
  status: Type.Union([Type.Literal("none"), Type.Literal("processing"), Type.Literal("ready"), Type.Literal("failed")]),
  url: Nullable(Type.String({ description: "needs no Authorization header: whoever has it may fetch the file" })),
  expires_at: Nullable(Type.String({ format: "date-time" })),
});

const ZIP = { content: { "application/zip": { schema: Type.Any() } } };

export async function exportRoutes(app: App, context: Context): Promise<void> {
  app.post(
    "/me/export",
    {
      schema: {
        summary: "Have all that is kept of oneself put into a ZIP",
        description:
          "One that is under way is not begun again, nor one that was finished within the last hour, which is `ready`: DELETE it first. An older one is replaced. GET /me/export says when it is ready. Its files are described in docs/takeout.md.",
        tags,
        response: {
          202: Type.Object({ status: Type.Union([Type.Literal("processing"), Type.Literal("ready")]) }),
        },
      },
    },
    async (request, reply) => reply.code(202).send({ status: await requestExport(context, viewerOf(request).id) }),
  );

  app.get(
    "/me/export",
    {
      schema: {
        summary: "How one's export stands, and where to fetch it",
        description:
          "`none` also where it has expired. After `failed`, ask for a new one. A new password gives it a new `url`.",
        tags,
        response: { 200: ExportState },
      },
    },
    async (request) => exportState(context, viewerOf(request).id),
  );

  app.delete(
    "/me/export",
    {
      schema: {
        summary: "Withdraw one's export",
        description: "Its URL ends at once; one that is being made is given up. Idempotent.",
        tags,
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      await withdrawExport(context, viewerOf(request).id);
      return reply.code(204).send(null);
    },
  );
}

/** `/exports/:id/:token.zip`, outside of /api/v1: a browser that saves a file sends no token. */
export async function downloadRoutes(app: App, context: Context): Promise<void> {
  app.get(
    "/exports/:id/:file",
    {
      schema: {
        summary: "An export, as a ZIP",
        description:
          "Take the URL as GET /me/export gives it: `:file` is a secret that stands for its owner, and `.zip`. Ranges work. Any other gets the 404 of one that is not there.",
        tags,
        params: Type.Object({ id: Id(), file: Type.String() }),
        response: { 200: ZIP, 206: ZIP, 416: Type.Null() },
      },
    },
    async (request, reply) => {
      const { id, file } = request.params;
      const token = file.endsWith(".zip") ? file.slice(0, -".zip".length) : null;
      const found = token !== null && isUuid(id) ? await openExport(context, id, token) : null;
      if (!found) throw exportNotFound({});
      reply.headers({
        "cache-control": "private, no-store",
        "content-disposition": `attachment; filename="${found.name}"`,
        "referrer-policy": "no-referrer",
        "x-robots-tag": "noindex",
      });
      const object = {
        key: found.key,
        bytes: found.bytes,
        etag: `"${id.toLowerCase()}"`,
        content_type: "application/zip",
      };
      if (!(await sendObject(request, reply, context.media, object))) throw exportNotFound({});
      return reply;
    },
  );
}
