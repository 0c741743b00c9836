import type { Feature } from "../../src/feature.ts";
import { UsersCreate, UsersList, UsersShow } from "./commands.ts";
import { sweepSessions } from "./jobs.ts";

export const accounts: Feature = {
  name: "accounts",
  summary: "accounts, sessions and profiles",
  core: true,
  requires: [],
  plugin: async (app, context) => (await import("./routes.ts")).accountRoutes(app, context),
  authenticate: async ({ db, config }, token) =>
    (await import("./accounts.ts")).authenticate(db, token, config.accounts.session_lifetime),
  jobs: [sweepSessions],
  commands: { "users:create": UsersCreate, "users:list": UsersList, "users:show": UsersShow },
};
