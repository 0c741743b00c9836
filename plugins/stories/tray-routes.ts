import { Type } from "typebox";
import type { Context } from "../../src/context.ts";
import { viewerOf } from "../../src/http/auth.ts";
import type { App } from "../../src/http/types.ts";
import { toUser, User } from "../accounts/index.ts";
import { mediaUrls } from "../tickets/index.ts";
import { Trays } from "./tray.ts";
import { MOST_AUTHORS, MOST_COUNTED } from "./tray-store.ts";

const TrayItem = Type.Object({
  user: User,
  latest_story_at: Type.String({ format: "date-time" }),
  has_unseen: Type.Boolean({
    description: "whether there is one that the viewer has not seen; of one's own it is false",
  }),
  count: Type.Integer({ description: `stories that are for the viewer and not over; ${MOST_COUNTED} at most` }),
});

export async function trayRoutes(app: App, context: Context): Promise<void> {
  const trays = new Trays(context);
  app.get(
    "/stories/tray",
    {
      schema: {
        summary: "Whose stories there are for the viewer: of oneself and of those whom one follows and has not muted",
        description: `Oneself first, if one has any, then authors with something unseen, then those with the latest; ${MOST_AUTHORS} at most. New stories of others, and what one sees of them, show within two seconds; what one may not see any more is gone at once.`,
        tags: ["Stories"],
        response: { 200: Type.Object({ items: Type.Array(TrayItem) }) },
      },
    },
    async (request) => {
      const viewer = viewerOf(request);
      const entries = await trays.of(viewer.id);
      const urls = await mediaUrls(context, viewer.id);
      return {
        items: entries.map(({ user, latest_story_at, has_unseen, count }) => ({
          user: toUser(user, urls),
          latest_story_at: new Date(latest_story_at).toISOString(),
          has_unseen,
          count,
        })),
      };
    },
  );
}
