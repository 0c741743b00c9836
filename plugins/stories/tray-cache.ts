import type { Context } from "../../src/context.ts";
import { parsePgSnapshot } from "../../src/db/snapshot.ts";
import type { Tx } from "../../src/db/transaction.ts";
import { endEpochOfOthers } from "../../src/redis/epoch.ts";
import { ChangeMarks, KeptValues } from "../../src/redis/kept-values.ts";
import type { RedisStore } from "../../src/redis/redis.ts";
import type { TrayEntry, TrayRead } from "./tray-store.ts";

/** Milliseconds that a tray is kept: so late it shows a new story of somebody else. */
const TTL = 1_000;

/**
 * Trays in Redis, each for a second at most, and never for longer than until the first of its stories is over. What has to
 * show at once does not wait for that: a change of whose stories are for the viewer drops the viewer's tray, and a story
 * that is gone marks its author. The trays that it was in are too many to be dropped, so each is held against the marks
 * of the authors in it when it is read. All may throw RedisUnavailableError.
 */
export class TrayCache {
  readonly #trays: KeptValues;
  readonly #gone: ChangeMarks;
  readonly #viewed: ChangeMarks;

  constructor(redis: RedisStore) {
    this.#trays = new KeptValues(redis, "tray");
    this.#gone = new ChangeMarks(redis, "tray-gone");
    this.#viewed = new ChangeMarks(redis, "tray-viewed");
  }

  /** @returns entries where there are such that are right, and what to keep others with. */
  async get(viewerId: string): Promise<{ epoch: string; entries: TrayEntry[] | null }> {
    const { epoch, values } = await this.#trays.get([viewerId]);
    const value = values.get(viewerId);
    if (value === undefined) return { epoch, entries: null };
    const { snapshot, entries }: Pick<TrayRead, "snapshot" | "entries"> = JSON.parse(value);
    const seen = parsePgSnapshot(snapshot);
    const authors = entries.map(({ user }) => user.id);
    const known = await Promise.all([this.#gone.areKnownTo(seen, authors), this.#viewed.areKnownTo(seen, [viewerId])]);
    return { epoch, entries: known.every(Boolean) ? entries : null };
  }

  /** @param asked when Postgres was, by `performance.now()`. */
  async put(viewerId: string, { snapshot, entries, over_in }: TrayRead, { epoch, asked }: Asked): Promise<void> {
    const ttl = Math.floor(Math.min(TTL, over_in ?? TTL) - (performance.now() - asked));
    if (ttl < 1) return;
    await this.#trays.put(viewerId, JSON.stringify({ snapshot, entries }), { epoch, snapshot, ttl });
  }

  async drop(viewerId: string, xid: string): Promise<void> {
    await this.#trays.drop(viewerId, xid);
  }

  async markGone(authorId: string, xid: string): Promise<void> {
    await this.#gone.mark(authorId, xid);
  }

  async markViewed(viewerId: string, xid: string): Promise<void> {
    await this.#viewed.mark(viewerId, xid);
  }
}

interface Asked {
  /** Of before Postgres was asked. */
  epoch: string;
  asked: number;
}

type CacheContext = Pick<Context, "redis" | "notices">;

/** Other authors' stories are for these viewers from the commit of this transaction on, which holds their accounts. */
export async function dropTrays(tx: Tx, { redis, notices }: CacheContext, viewerIds: readonly string[]): Promise<void> {
  if (redis === null) return endEpochOfOthers(tx, notices);
  const cache = new TrayCache(redis);
  await redis.invalidate(tx, (xid) => Promise.all(viewerIds.map((id) => cache.drop(id, xid))));
}

/**
 * Stories of this author are in nobody's tray from the commit of this transaction on. It holds the author's account: a mark
 * remembers one transaction, so two must not be under way.
 */
export async function markGone(tx: Tx, { redis, notices }: CacheContext, authorId: string): Promise<void> {
  if (redis === null) return endEpochOfOthers(tx, notices);
  await redis.invalidate(tx, (xid) => new TrayCache(redis).markGone(authorId, xid));
}

/**
 * For after the commit of a transaction by which these viewers have seen stories: their trays show it from now on. Where Redis
 * does not answer, within a second. That is also so where two of a viewer's views end at once and the mark of the earlier one
 * comes last: a tray that knows of that one alone lies in Redis for no longer, and tells nothing that one may not see.
 * @param xid the transaction's.
 */
export async function markViewed(
  { redis, log }: Pick<Context, "redis" | "log">,
  viewerIds: readonly string[],
  xid: string,
): Promise<void> {
  if (redis === null) return;
  const cache = new TrayCache(redis);
  await Promise.all(viewerIds.map((id) => cache.markViewed(id, xid))).catch((error: unknown) => {
    log.debug({ err: error }, "a tray shows a view within a second");
  });
}
