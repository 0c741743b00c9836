import {
  addCloseFriend,
  block,
  follow,
  hideStories,
  mute,
  removeCloseFriend,
  showStories,
  unblock,
  unfollow,
  unmute,
} from "../../../plugins/graph/graph.ts";

/** What the graph's routes call, by the table of the relation that it makes, or ends, between the viewer and a username. */
export const relating = {
  follows: { make: follow, end: unfollow },
  mutes: { make: mute, end: unmute },
  blocks: { make: block, end: unblock },
  close_friends: { make: addCloseFriend, end: removeCloseFriend },
  story_hides: { make: hideStories, end: showStories },
};
export type Relation = keyof typeof relating;
