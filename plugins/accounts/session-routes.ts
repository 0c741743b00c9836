import { Type } from "typebox";
import type { Context } from "../../src/context.ts";
import { viewerOf } from "../../src/http/auth.ts";
import { IdParams } from "../../src/http/ids.ts";
import { PageQuery, pageOf, pageRequest, sendPage } from "../../src/http/paging.ts";
import type { App } from "../../src/http/types.ts";
import { changePassword } from "./credentials.ts";
import { Password, Session, toSession } from "./schemas.ts";
import { listSessions } from "./session-store.ts";
import { endSession } from "./sessions.ts";

const tags = ["Accounts"];

/** One's own sessions, and what ends them. */
export function sessionRoutes(app: App, context: Context): void {
  const { config, db } = context;

  app.post(
    "/auth/logout",
    {
      config: { withoutIdempotencyKey: true },
      schema: { summary: "End this session", tags, response: { 204: Type.Null() } },
    },
    async (request, reply) => {
      const { id, session_id } = viewerOf(request);
      await endSession(context, id, session_id);
      return reply.code(204).send(null);
    },
  );

  app.get(
    "/auth/sessions",
    {
      schema: {
        summary: "One's own sessions, latest first",
        tags,
        querystring: PageQuery,
        response: { 200: pageOf(Session) },
      },
    },
    async (request, reply) => {
      const { id, session_id } = viewerOf(request);
      const { limit, after } = pageRequest(request.query);
      const lifetime = config.accounts.session_lifetime;
      const rows = await listSessions(db, { userId: id, lifetime, limit: limit + 1, after });
      return sendPage(request, reply, {
        rows,
        limit,
        publicUrl: config.public_url,
        position: (row) => ({ at: row.created_at, id: row.id }),
        item: (row) => toSession(row, session_id),
      });
    },
  );

  app.delete(
    "/auth/sessions/:id",
    {
      schema: {
        summary: "End one of one's sessions",
        tags,
        params: IdParams,
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      await endSession(context, viewerOf(request).id, request.params.id);
      return reply.code(204).send(null);
    },
  );

  app.post(
    "/me/password",
    {
      config: { limit: "password", secretBody: true },
      schema: {
        summary: "Change one's password",
        description: "All other sessions end, and the URL of one's export changes.",
        tags,
        body: Type.Object({ current_password: Type.String(), new_password: Password }, { additionalProperties: false }),
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      await changePassword(context, viewerOf(request), { ...request.body, address: request.ip });
      return reply.code(204).send(null);
    },
  );
}
