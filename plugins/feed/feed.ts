import type { Context } from "../../src/context.ts";
import { isReplyError, RedisUnavailableError } from "../../src/redis/redis.ts";
import { postsByIds, toPost } from "../posts/index.ts";
import { mediaUrls } from "../tickets/index.ts";
import { CachedFeed } from "./cached-feed.ts";
import { entryOf } from "./entries.ts";
import { feedHits, feedMisses, feedSeconds } from "./metrics.ts";
import type { FeedPage, FeedRequest } from "./page.ts";
import { feedPage } from "./store.ts";

type FeedContext = Pick<Context, "config" | "db" | "bulkhead" | "redis" | "notices" | "log">;

/** The home feed: from Redis where there is one that answers, else from Postgres. Both say the same. */
export class Feed {
  readonly #context: FeedContext;
  readonly #cached: CachedFeed | null;

  constructor(context: FeedContext) {
    this.#context = context;
    this.#cached = context.redis && new CachedFeed({ ...context, redis: context.redis });
  }

  /** @throws 503 when too many feeds have to be read from Postgres at once. */
  async page(viewerId: string, request: FeedRequest): Promise<FeedPage> {
    const started = performance.now();
    const page = await this.#page(viewerId, request);
    feedSeconds.observe({ cache_status: page.status }, (performance.now() - started) / 1_000);
    if (page.status === "hit") feedHits.inc();
    if (page.status === "miss") feedMisses.inc();
    return page;
  }

  async #page(viewerId: string, request: FeedRequest): Promise<FeedPage> {
    if (this.#cached === null) return this.#fromPostgres(viewerId, request, { degraded: false, status: "off" });
    try {
      const page = await this.#cached.page(viewerId, request);
      return page ?? (await this.#fromPostgres(viewerId, request, { degraded: false, status: "miss" }));
    } catch (error) {
      const unavailable = error instanceof RedisUnavailableError;
      if (!unavailable && !isReplyError(error)) throw error;
      this.#context.log[unavailable ? "debug" : "warn"]({ err: error }, "a feed comes from Postgres");
      return this.#fromPostgres(viewerId, request, { degraded: true, status: "miss" });
    }
  }

  async #fromPostgres(
    viewerId: string,
    { limit, after }: FeedRequest,
    made: Pick<FeedPage, "degraded" | "status">,
  ): Promise<FeedPage> {
    const [rows, posts] = await this.#context.bulkhead.run(async (db) => {
      const found = await feedPage(db, viewerId, { limit: limit + 1, after });
      return [
        found,
        await postsByIds(
          db,
          viewerId,
          found.map(({ id }) => id),
        ),
      ] as const;
    });
    const urls = await mediaUrls(this.#context, viewerId);
    const last = rows.at(-1);
    return {
      items: posts.map((post) => ({
        entry: entryOf({ at: post.published_at ?? new Date(0), id: post.id }),
        json: [Buffer.from(JSON.stringify(toPost(post, urls)))],
      })),
      // Of those that were found some may be gone by now: the page is then shorter, not ended.
      next: rows.length > limit && last && posts.length <= limit ? { at: last.published_at, id: last.id } : null,
      ...made,
    };
  }
}

const feeds = new WeakMap<Context, Feed>();

/** The feed of this process. */
export function feedOf(context: Context): Feed {
  const known = feeds.get(context) ?? new Feed(context);
  feeds.set(context, known);
  return known;
}
