import type { Feature } from "../../src/feature.ts";

export const avatars: Feature = {
  name: "avatars",
  summary: "a picture for each account",
  core: true,
  requires: ["tickets", "accounts", "media"],
  plugin: async (app, context) => (await import("./routes.ts")).avatarRoutes(app, context),
  on: {
    "media.ready": async (tx, { medium_id }, context) =>
      (await import("./avatars.ts")).showAvatar(tx, context, medium_id),
  },
};
