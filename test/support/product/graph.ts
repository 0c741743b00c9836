import * as graph from "../../../plugins/graph/graph.ts";
import type { Context } from "../../../src/context.ts";
import type { Db } from "../../../src/db/transaction.ts";

type GraphContext = Pick<Context, "db" | "emit">;

async function nameOf(db: Db, id: string): Promise<string> {
  return (await db.selectFrom("users").select("username").where("id", "=", id).executeTakeFirstOrThrow()).username;
}

/** What the product does between two accounts, by their ids. */
function byIds<Answer>(work: (context: GraphContext, viewerId: string, username: string) => Promise<Answer>) {
  return async (context: GraphContext, viewerId: string, otherId: string): Promise<Answer> =>
    work(context, viewerId, await nameOf(context.db, otherId));
}

export const follow = byIds(graph.follow);
export const approve = byIds(graph.approve);
export const unfollow = byIds(graph.unfollow);
export const block = byIds(graph.block);
export const addCloseFriend = byIds(graph.addCloseFriend);
export const removeCloseFriend = byIds(graph.removeCloseFriend);
export const hideStories = byIds(graph.hideStories);

/** What the graph's routes call, by the table of the relation that it makes, or ends, between the viewer and a username. */
export const relating = {
  follows: { make: graph.follow, end: graph.unfollow },
  mutes: { make: graph.mute, end: graph.unmute },
  blocks: { make: graph.block, end: graph.unblock },
  close_friends: { make: graph.addCloseFriend, end: graph.removeCloseFriend },
  story_hides: { make: graph.hideStories, end: graph.showStories },
};
export type Relation = keyof typeof relating;
