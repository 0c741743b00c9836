import type { Position } from "../../src/http/paging.ts";
import type { Entry } from "./entries.ts";
import type { CacheStatus } from "./metrics.ts";

export interface FeedRequest {
  limit: number;
  after: Position | null;
}

/** One post of a feed, as JSON in one or more parts, and its place. */
export interface FeedItem {
  entry: Entry;
  json: readonly Buffer[];
}

export interface FeedPage {
  /** At most one more than asked for: then there is a next page. */
  items: FeedItem[];
  /** Where there is no such one, but further pages all the same: the place after which they begin. */
  next: Position | null;
  degraded: boolean;
  status: CacheStatus;
}
