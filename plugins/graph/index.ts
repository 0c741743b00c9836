/** The graph: who follows, blocks and mutes whom, and who may see whom. */

export { requireKnown, requireSeen } from "./graph.ts";
export { RelatedUser, toRelatedUser } from "./schemas.ts";
export { isInFeed, isKnown, isListed, isSeen, type ViewerSnapshot, viewerSnapshot } from "./snapshot.ts";
export { type Relationship, relationshipTo } from "./store.ts";
export { feedAuthors, mayBeKnownTo, mayBeListedFor, mayBeSeenBy } from "./visibility.ts";
