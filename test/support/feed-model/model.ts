import { copyOf, type GraphModel, type GraphOperation, perform } from "../graph-model.ts";

/** Where a post stands in a feed. `at` is RFC 3339 with milliseconds, so text compares as time does. */
export interface Position {
  at: string;
  id: string;
}

export const isNewer = (one: Position, other: Position) =>
  one.at > other.at || (one.at === other.at && one.id > other.id);

export interface ModelPost {
  id: string;
  /** Names, here and below. */
  author: string;
  caption: string | null;
  /** Null until it is known; it may be shown all the same. */
  published_at: string | null;
  /** Whether all that its publishing has caused has been done: from then on no feed may lack it. */
  settled: boolean;
  deleted: boolean;
}

/** What the contract says of feeds, in memory: nothing of the product is in it. */
export class FeedModel {
  graph: GraphModel;
  readonly suspended = new Set<string>();
  readonly posts = new Map<string, ModelPost>();

  constructor() {
    this.graph = copyOf({
      isPrivate: new Set(),
      follows: new Set(),
      requests: new Set(),
      blocks: new Set(),
      mutes: new Set(),
    });
  }

  /** @returns what is answered. */
  perform(operation: GraphOperation): unknown {
    return performWith(this.graph, this.suspended, operation);
  }

  /** Whether an author's posts are in a viewer's feed. */
  shows(viewer: string, author: string): boolean {
    if (this.suspended.has(author)) return false;
    if (viewer === author) return true;
    const { follows, mutes, blocks } = this.graph;
    const [out, back] = [`${viewer}>${author}`, `${author}>${viewer}`];
    return follows.has(out) && !mutes.has(out) && !blocks.has(out) && !blocks.has(back);
  }

  /** All posts of a viewer's feed whose place is known, the newest first. */
  feedOf(viewer: string): (ModelPost & Position)[] {
    return [...this.posts.values()]
      .flatMap((post) => (post.published_at === null ? [] : [{ ...post, at: post.published_at }]))
      .filter((post) => !post.deleted && this.shows(viewer, post.author))
      .sort((one, other) => (isNewer(one, other) ? -1 : 1));
  }

  postsOf(author: string): ModelPost[] {
    return [...this.posts.values()].filter((post) => post.author === author && !post.deleted).reverse();
  }

  followersOf(author: string): number {
    return [...this.graph.follows].filter((pair) => pair.endsWith(`>${author}`)).length;
  }
}

/** Does the operation to a graph in which some are suspended, who are there for nobody. */
export function performWith(graph: GraphModel, suspended: ReadonlySet<string>, operation: GraphOperation): unknown {
  if ("whom" in operation && suspended.has(operation.whom)) return 404;
  return perform(graph, operation);
}
