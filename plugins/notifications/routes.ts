import type { Context } from "../../src/context.ts";
import { viewerOf } from "../../src/http/auth.ts";
import { PageQuery, pageOf, pageRequest, sendPage } from "../../src/http/paging.ts";
import type { App } from "../../src/http/types.ts";
import { mediaUrls } from "../tickets/index.ts";
import { changePreferences, notificationsOf, preferences, readNotifications, unreadCount } from "./notifications.ts";
import { Notification, Preferences, ReadBody, SomePreferences, toNotification, UnreadCount } from "./schemas.ts";

const tags = ["Notifications"];

export async function notificationRoutes(app: App, context: Context): Promise<void> {
  const { config, db } = context;

  app.get(
    "/notifications",
    {
      schema: {
        summary: "What others did that concerns the viewer, the latest first",
        description:
          "What happens to one thing is one notification: a new actor, or a new comment, moves it to the top and makes it unread again. One that moves while pages are read is on the first page of the next reading. They are kept 90 days.",
        tags,
        querystring: PageQuery,
        response: { 200: pageOf(Notification) },
      },
    },
    async (request, reply) => {
      const viewer = viewerOf(request);
      const { limit, after } = pageRequest(request.query);
      const rows = await notificationsOf(context, viewer.id, { limit: limit + 1, after });
      const urls = await mediaUrls(context, viewer.id);
      return sendPage(request, reply, {
        rows,
        limit,
        publicUrl: config.public_url,
        position: ({ updated_at, id }) => ({ at: updated_at, id }),
        item: (row) => toNotification(row, urls),
      });
    },
  );

  app.get(
    "/notifications/unread_count",
    { schema: { summary: "How many notifications are unread", tags, response: { 200: UnreadCount } } },
    async (request) => ({ unread_count: await unreadCount(context, viewerOf(request).id) }),
  );

  app.post(
    "/notifications/read",
    {
      schema: {
        summary: "Mark notifications as read, all or those from one on downwards",
        tags,
        body: ReadBody,
        response: { 200: UnreadCount },
      },
    },
    async (request) => {
      const upTo = request.body?.up_to ?? null;
      return readNotifications(context, viewerOf(request).id, upTo);
    },
  );

  app.get(
    "/me/notification-preferences",
    { schema: { summary: "What one is told, by type", tags, response: { 200: Preferences } } },
    async (request) => preferences(db, viewerOf(request).id),
  );

  app.patch(
    "/me/notification-preferences",
    {
      schema: {
        summary: "Choose what to be told; a type that is not named stays as it is",
        tags,
        body: SomePreferences,
        response: { 200: Preferences },
      },
    },
    async (request) => changePreferences(db, viewerOf(request).id, request.body),
  );
}
