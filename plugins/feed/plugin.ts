import type { Context } from "../../src/context.ts";
import type { Tx } from "../../src/db/transaction.ts";
import type { Feature } from "../../src/feature.ts";
import { BenchFanout, BenchFeed } from "./bench/commands.ts";
import { BenchReference } from "./bench/reference-command.ts";
import { FanOutRebuild, FanOutStatus, FanOutVerify } from "./fanout-commands.ts";
import { fanOutJob } from "./jobs.ts";

export const feed: Feature = {
  name: "feed",
  summary: "the home feed",
  requires: ["tickets", "accounts", "graph", "posts"],
  plugin: async (app, context) => (await import("./routes.ts")).feedRoutes(app, context),
  off: async ({ db }) => {
    await (await import("../../src/redis/epoch.ts")).forgetRedis(db);
  },
  jobs: [fanOutJob],
  commands: {
    "bench:fanout": BenchFanout,
    "bench:feed": BenchFeed,
    "bench:reference": BenchReference,
    "fanout:rebuild": FanOutRebuild,
    "fanout:status": FanOutStatus,
    "fanout:verify": FanOutVerify,
  },
  on: {
    "post.published": async (tx, post, context) => {
      await (await import("./pulled.ts")).settlePull(tx, context, post.author_id);
      await (await import("./fan-out.ts")).enqueueFanOut(tx, context, post, "push");
    },
    "post.deleted": async (tx, post, context) => {
      await (await import("./timelines.ts")).dropAuthorList(tx, context, post.author_id);
      await (await import("./fan-out.ts")).enqueueFanOut(tx, context, post, "remove");
    },
    "follow.started": (tx, { follower_id }, context) => changed(tx, context, [follower_id]),
    "follows.approved": (tx, { started_ids }, context) => changed(tx, context, started_ids),
    "follow.ended": (tx, { follower_id, erased }, context) => changed(tx, context, erased ? [] : [follower_id]),
    "account.blocked": (tx, { blocker_id, blocked_id }, context) => changed(tx, context, [blocker_id, blocked_id]),
    "account.unblocked": (tx, { blocker_id, blocked_id, erased }, context) =>
      changed(tx, context, erased ? [] : [blocker_id, blocked_id]),
    "account.muted": (tx, { muter_id }, context) => changed(tx, context, [muter_id]),
    "account.unmuted": (tx, { muter_id, erased }, context) => changed(tx, context, erased ? [] : [muter_id]),
    "account.deleting": (tx, { user_id }, context) => changed(tx, context, [user_id]),
  },
};

/** What these viewers' feeds are made of is another from this transaction on. */
async function changed(tx: Tx, context: Context, viewerIds: readonly string[]): Promise<void> {
  if (viewerIds.length > 0) await (await import("./timelines.ts")).dropTimelines(tx, context, viewerIds);
}
