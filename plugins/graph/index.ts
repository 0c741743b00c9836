/** The graph: who follows, blocks and mutes whom, and who may see whom. */

export { requireKnown, requireSeen } from "./graph.ts";
export { RelatedUser, toRelatedUser } from "./schemas.ts";
export {
  decodeSnapshot,
  encodeSnapshot,
  isInFeed,
  isKnown,
  isListed,
  isSeen,
  type ViewerSnapshot,
  viewerSnapshot,
} from "./snapshot.ts";
export { type Relationship, relationshipTo } from "./store.ts";
export {
  feedAuthors,
  followedAuthors,
  isStoryFor,
  isStoryShown,
  mayBeKnownTo,
  mayBeListedFor,
  mayBeSeenBy,
} from "./visibility.ts";
