import type { Feature } from "../../src/feature.ts";
import { authenticate } from "./accounts.ts";
import { UsersCreate, UsersList, UsersShow } from "./commands.ts";
import { sweepSessions } from "./jobs.ts";
import { accountRoutes } from "./routes.ts";

export const accounts: Feature = {
  name: "accounts",
  summary: "accounts, sessions and profiles",
  core: true,
  requires: [],
  plugin: accountRoutes,
  authenticate: ({ db, config }, token) => authenticate(db, token, config.accounts.session_lifetime),
  jobs: [sweepSessions],
  commands: { "users:create": UsersCreate, "users:list": UsersList, "users:show": UsersShow },
};
