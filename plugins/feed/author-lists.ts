import { LRUCache } from "lru-cache";
import type { Context } from "../../src/context.ts";
import { type Entry, newestFirst } from "./entries.ts";
import { CAPACITY } from "./timeline-scripts.ts";
import type { ReadLine, Stretch, Timelines } from "./timelines.ts";

declare module "../../src/notices.ts" {
  interface NoticeTopics {
    /** The list of a pulled author has another entry, or one less. */
    "feed.author": "user_id";
  }
}

/** Milliseconds for which a list is believed if no notice comes: by so much a new post may be late. */
const TTL = 1_000;
/** Of 12 KB each. */
const MOST = 2_000;

/**
 * The lists of pulled authors as this process knows them. They are few and everybody reads them: asked of Redis for each
 * page, they cost several times what the viewer's own timeline does.
 */
export class AuthorLists {
  readonly #timelines: Timelines;
  readonly #known = new LRUCache<string, ReadLine>({ max: MOST, ttl: TTL, ttlResolution: 100 });

  constructor({ notices }: Pick<Context, "notices">, timelines: Timelines) {
    this.#timelines = timelines;
    notices.on("feed.author", (id) => this.#known.delete(id));
  }

  /** @returns null if it is not built. */
  async read(id: string, { after, count }: { after: Entry | null; count: number }): Promise<Stretch | null> {
    const whole =
      this.#known.get(id) ?? (await this.#timelines.read("author", id, { after: null, count: 2 * CAPACITY }));
    if (whole === null) return null;
    this.#known.set(id, whole, { noUpdateTTL: true });
    return stretchOf(whole, after, count);
  }
}

function stretchOf({ entries, rest }: Stretch, after: Entry | null, count: number): Stretch {
  const found = after === null ? 0 : entries.findIndex((entry) => newestFirst(entry, after) > 0);
  const first = found === -1 ? entries.length : found;
  const some = entries.slice(first, first + count);
  return { entries: some, rest: first + count < entries.length ? "more" : rest };
}
