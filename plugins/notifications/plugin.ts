import type { Context } from "../../src/context.ts";
import type { Tx } from "../../src/db/transaction.ts";
import type { EventHandlers, Events } from "../../src/events.ts";
import type { Feature } from "../../src/feature.ts";
import { foldJob, spreadJob, sweepJob } from "./jobs.ts";
import { TOLD_EVENTS, type ToldEvent } from "./types.ts";

export const notifications: Feature = {
  name: "notifications",
  summary: "who followed, liked, commented on or mentioned one",
  requires: ["tickets", "accounts", "graph", "posts"],
  plugin: async (app, context) => (await import("./routes.ts")).notificationRoutes(app, context),
  jobs: [foldJob, spreadJob, sweepJob],
  on: Object.fromEntries(TOLD_EVENTS.map((name) => [name, handlerOf(name)])) as EventHandlers<Context>,
  async *takeout(context, userId) {
    yield* (await import("./takeout.ts")).notificationsTakeout(context, userId);
  },
  counters: async () => (await import("./counters.ts")).notificationCounters,
  erase: async (...account) => (await import("./erase.ts")).eraseNotifications(...account),
};

function handlerOf<Name extends ToldEvent>(name: Name) {
  return async (tx: Tx, event: Events[Name], context: Context): Promise<void> => {
    const { told } = await import("./told.ts");
    await told[name](tx, event, context);
  };
}
