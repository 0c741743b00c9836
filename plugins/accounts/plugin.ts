import type { Feature } from "../../src/feature.ts";
import { UsersCreate, UsersInvite, UsersList, UsersShow } from "./commands.ts";
import { deleteJob, mailJob, sweepAccounts, sweepSessions } from "./jobs.ts";
import { UsersDelete, UsersResetPassword, UsersSuspend, UsersUnsuspend } from "./operator-commands.ts";

let sessions: Promise<typeof import("./sessions.ts")> | undefined;

export const accounts: Feature = {
  name: "accounts",
  summary: "accounts, sessions and profiles",
  core: true,
  requires: ["tickets"],
  plugin: async (app, context) => (await import("./routes.ts")).accountRoutes(app, context),
  rootPlugin: async (app, context) => (await import("./page-routes.ts")).pageRoutes(app, context),
  authenticate: async (context, token) => {
    // Asked for once: even of what is loaded, import() takes longer than all the rest of an authentication.
    sessions ??= import("./sessions.ts");
    return (await sessions).authenticate(context, token);
  },
  async *takeout(context, userId) {
    yield* (await import("./takeout.ts")).accountTakeout(context, userId);
  },
  on: {
    "account.changed": async (tx, { user_id }, context) =>
      (await import("./cards.ts")).cards(context).drop(tx, user_id),
  },
  jobs: [mailJob, deleteJob, sweepAccounts, sweepSessions],
  commands: {
    "users:create": UsersCreate,
    "users:delete": UsersDelete,
    "users:invite": UsersInvite,
    "users:list": UsersList,
    "users:reset-password": UsersResetPassword,
    "users:show": UsersShow,
    "users:suspend": UsersSuspend,
    "users:unsuspend": UsersUnsuspend,
  },
};
