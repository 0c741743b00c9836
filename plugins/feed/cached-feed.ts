import { LRUCache } from "lru-cache";
import type { Context } from "../../src/context.ts";
import { type RedisStore, RedisUnavailableError } from "../../src/redis/redis.ts";
import { cards } from "../accounts/index.ts";
import { decodeSnapshot, isInFeed, isKnown, type ViewerSnapshot } from "../graph/index.ts";
import { hotEngagement, hotPosts } from "../posts/index.ts";
import { ticketQuery } from "../tickets/index.ts";
import { AuthorLists } from "./author-lists.ts";
import { Builder } from "./building.ts";
import { type Entry, entryOf, positionOf } from "./entries.ts";
import { type Merged, mergeStretches } from "./merge.ts";
import type { FeedItem, FeedPage, FeedRequest } from "./page.ts";
import { type PulledAuthors, PulledList } from "./pulled.ts";
import { feedPage } from "./store.ts";
import { type Line, type ReadLine, type Stretch, Timelines } from "./timelines.ts";

type CachedContext = Pick<Context, "config" | "db" | "bulkhead" | "notices" | "log"> & { redis: RedisStore };

interface KnownSnapshot {
  version: string;
  snapshot: ViewerSnapshot;
}

/** Ids in all snapshots that the process keeps, some 100 bytes each. */
const MOST_IDS = 500_000;
/** Entries that are read beyond a page, for those that are dropped. */
const SPARE = 5;
/** How often a line that is not there is built before Postgres is read: something may change it again and again. */
const TRIES = 3;

/** Gathers a page: its items, and what is to be taken out of the viewer's timeline because it does not belong there. */
interface Gathering {
  viewerId: string;
  snapshot: ViewerSnapshot;
  /** Of the timeline. */
  version: string;
  wanted: number;
  items: FeedItem[];
  strays: Entry[];
  ticket: () => Buffer;
}

/** The feed from timelines in Redis, pulled authors' lists, and beyond them Postgres. */
export class CachedFeed {
  readonly #context: CachedContext;
  readonly #timelines: Timelines;
  readonly #builder: Builder;
  readonly #authors: AuthorLists;
  readonly #pulled: PulledList;
  readonly #snapshots = new LRUCache<string, KnownSnapshot>({
    maxSize: MOST_IDS,
    sizeCalculation: ({ snapshot: { follows, blocking, blocked_by, mutes } }) =>
      1 + follows.size + blocking.size + blocked_by.size + mutes.size,
  });

  constructor(context: CachedContext) {
    this.#context = context;
    this.#timelines = new Timelines(context.redis);
    this.#builder = new Builder(context, this.#timelines);
    this.#authors = new AuthorLists(context, this.#timelines);
    this.#pulled = new PulledList(context);
  }

  /** @returns null if the timeline cannot be had now though Redis is there. @throws RedisUnavailableError */
  async page(viewerId: string, { limit, after }: FeedRequest): Promise<FeedPage | null> {
    let status: FeedPage["status"] = "hit";
    const wanted = limit + 1;
    const query = await ticketQuery(this.#context, viewerId);
    let ticket: Buffer | undefined;
    let gathering: Gathering | undefined;
    let from = after && entryOf(after);
    for (;;) {
      const read = await this.#merged(viewerId, from, wanted + SPARE);
      if (read === null) return null;
      if (read.built) status = "miss";
      gathering = {
        viewerId,
        wanted,
        items: gathering?.items ?? [],
        strays: gathering?.strays ?? [],
        ticket: () => {
          ticket ??= Buffer.from(query());
          return ticket;
        },
        snapshot: read.snapshot,
        version: read.version,
      };
      await this.#gather(gathering, read.merged.entries);
      const { rest } = read.merged;
      from = read.merged.from ?? from;
      if (gathering.items.length === wanted || rest === "end") break;
      if (rest === "cut") {
        status = "miss";
        await this.#gatherRest(gathering, from);
        break;
      }
    }
    this.#takeOut(gathering);
    return { items: gathering.items, next: null, degraded: false, status };
  }

  /** What Redis has after a place. @returns null as above; `built` is whether something had to be built for it. */
  async #merged(
    viewerId: string,
    after: Entry | null,
    count: number,
  ): Promise<{ merged: Merged; snapshot: ViewerSnapshot; version: string; built: boolean } | null> {
    const known = this.#snapshots.get(viewerId);
    const timeline = await this.#built("timeline", viewerId, () =>
      this.#timelines.read("timeline", viewerId, { after, count, version: known?.version }),
    );
    if (timeline === null) return null;
    const snapshot = this.#snapshot(viewerId, timeline.read, known);
    const pulled = pulledFor(snapshot, await this.#pulled.get(), timeline.read.built);
    const authors = await Promise.all(
      pulled.map((id) => this.#built("author", id, () => this.#authors.read(id, { after, count }))),
    );
    const stretches: Stretch[] = [timeline.read];
    for (const author of authors) {
      if (author === null) return null;
      stretches.push(author.read);
    }
    const built = timeline.built || authors.some((author) => author?.built);
    return { merged: mergeStretches(stretches), snapshot, version: timeline.read.version, built };
  }

  /** What `read` finds, which has to be built where it finds nothing. @returns null if that cannot be. */
  async #built<Read>(
    line: Line,
    id: string,
    read: () => Promise<Read | null>,
  ): Promise<{ read: Read; built: boolean } | null> {
    for (let tries = 0; tries < TRIES; tries++) {
      const found = await read();
      if (found !== null) return { read: found, built: tries > 0 };
      if (!(await this.#builder.build(line, id))) return null;
    }
    return null;
  }

  #snapshot(viewerId: string, read: ReadLine, known: KnownSnapshot | undefined): ViewerSnapshot {
    if (read.snapshot === null) {
      if (known?.version !== read.version) throw new RedisUnavailableError("Redis left a snapshot out");
      return known.snapshot;
    }
    const snapshot = decodeSnapshot(viewerId, read.snapshot);
    this.#snapshots.set(viewerId, { version: read.version, snapshot });
    return snapshot;
  }

  /** Adds the posts that the viewer may see now, until there are as many as wanted. */
  async #gather(gathering: Gathering, entries: readonly Entry[]): Promise<void> {
    const { viewerId, snapshot, items, wanted, strays, ticket } = gathering;
    for (let at = 0; at < entries.length && items.length < wanted; ) {
      const some = entries.slice(at, at + wanted - items.length);
      at += some.length;
      const posts = await hotPosts(this.#context).get(some.map(({ id }) => id));
      const people = new Set([...posts.values()].flatMap(({ author_id, mentioned }) => [author_id, ...mentioned]));
      const [shown, engagement] = await Promise.all([
        cards(this.#context).get([...people]),
        hotEngagement(this.#context).of(viewerId, [...posts.keys()]),
      ]);
      const nameOf = (userId: string) => {
        const account = shown.get(userId);
        return account && isKnown(snapshot, account) ? account.username : null;
      };
      for (const entry of some) {
        const post = posts.get(entry.id);
        const card = post && shown.get(post.author_id);
        if (!post || !card) strays.push(entry);
        else if (isInFeed(snapshot, card)) {
          const own = engagement.get(post.id);
          if (own)
            items.push({ entry, json: post.json(this.#context.config, card, { engagement: own, ticket, nameOf }) });
        } else if (card.state === "active") strays.push(entry);
      }
    }
  }

  /** Goes on in Postgres where Redis ends. */
  async #gatherRest(gathering: Gathering, from: Entry | null): Promise<void> {
    let after = from && positionOf(from);
    while (gathering.items.length < gathering.wanted) {
      const limit = gathering.wanted - gathering.items.length;
      const page = { limit, after };
      const rows = await this.#context.bulkhead.run((db) => feedPage(db, gathering.viewerId, page));
      const strays = gathering.strays.length;
      await this.#gather(
        gathering,
        rows.map(({ published_at, id }) => entryOf({ at: published_at, id })),
      );
      // They are in no timeline.
      gathering.strays.length = strays;
      const last = rows.at(-1);
      if (!last || rows.length < limit) return;
      after = { at: last.published_at, id: last.id };
    }
  }

  /** What a push left that came at the same time as a deletion, or as the end of a follow. Nobody waits for it. */
  #takeOut({ viewerId, version, strays }: Gathering): void {
    if (strays.length === 0) return;
    this.#timelines.takeOut("timeline", viewerId, version, strays).catch((error: unknown) => {
      this.#context.log.debug({ err: error }, "what does not belong stays in a timeline for now");
    });
  }
}

/** Whose lists are to be read beside a timeline that was built when all transactions below `built` had ended. */
function pulledFor({ viewer_id, follows, mutes }: ViewerSnapshot, pulled: PulledAuthors, built: number): string[] {
  const followed = pulled.size < follows.size ? [...pulled.keys()].filter((id) => follows.has(id)) : [...follows];
  return [viewer_id, ...followed].filter((id) => {
    const author = pulled.get(id);
    return author && !mutes.has(id) && (author.returned === null || author.returned >= built);
  });
}
