import { LRUCache } from "lru-cache";
import type { Viewer } from "../../src/http/types.ts";
import type { Notices } from "../../src/notices.ts";

declare module "../../src/notices.ts" {
  interface NoticeTopics {
    /** Some or all of an account's sessions. */
    "account.sessions_ended": "user_id";
  }
}

/** Whom a token was found to be. */
export interface FoundSession {
  viewer: Viewer;
  /** Milliseconds until the session ends unused, at the time it was asked for. */
  left: number;
}

/**
 * Milliseconds. Notices tell of every end of a session; this bounds only what nobody told of. With 5 s, to look sessions up
 * took a seventh of the time of a server that a thousand people read feeds of.
 */
const KEPT_FOR = 30_000;
/** Some 500 bytes each. */
const MOST_KEPT = 50_000;

interface SessionCache {
  viewer(tokenHash: Buffer, find: () => Promise<FoundSession | null>): Promise<Viewer | null>;
  forget(userId: string): void;
}

const caches = new WeakMap<Notices, SessionCache>();

/** The viewer of a token, asked of `find` unless it was found lately and nothing has been told of it since. */
export async function keptViewer(
  notices: Notices,
  tokenHash: Buffer,
  find: () => Promise<FoundSession | null>,
): Promise<Viewer | null> {
  return cacheOf(notices).viewer(tokenHash, find);
}

/**
 * Runs a transaction that ends sessions of an account or changes it, and tells others by a notice; this process, which may answer
 * before that comes, forgets whom it knew then. Also after a failure: a commit whose answer was lost has happened all the same.
 */
export async function forgettingSessions<T>(notices: Notices, userId: string, change: () => Promise<T>): Promise<T> {
  try {
    return await change();
  } finally {
    caches.get(notices)?.forget(userId);
  }
}

function cacheOf(notices: Notices): SessionCache {
  const known = caches.get(notices);
  if (known) return known;
  const cache = createCache(notices);
  caches.set(notices, cache);
  return cache;
}

function createCache(notices: Notices): SessionCache {
  const tokensOf = new Map<string, Set<string>>();
  const viewers = new LRUCache<string, Viewer>({
    max: MOST_KEPT,
    dispose({ id }, token) {
      const tokens = tokensOf.get(id);
      tokens?.delete(token);
      if (tokens?.size === 0) tokensOf.delete(id);
    },
  });
  // Who was being looked up when something was forgotten may be just that one.
  let forgotten = 0;
  const forget = (userId: string) => {
    forgotten++;
    for (const token of [...(tokensOf.get(userId) ?? [])]) viewers.delete(token);
  };
  notices.on("account.changed", forget);
  notices.on("account.sessions_ended", forget);
  notices.onGap(() => {
    forgotten++;
    viewers.clear();
  });
  const keep = (token: string, { viewer, left }: FoundSession, start: number) => {
    const ttl = Math.min(KEPT_FOR, Math.floor(left));
    if (ttl < 1) return;
    viewers.set(token, viewer, { ttl, start });
    tokensOf.set(viewer.id, (tokensOf.get(viewer.id) ?? new Set()).add(token));
  };
  return {
    async viewer(tokenHash, find) {
      const token = tokenHash.toString("base64");
      const kept = notices.live ? viewers.get(token) : undefined;
      if (kept) return kept;
      const [before, asked] = [forgotten, performance.now()];
      const found = await find();
      if (found && before === forgotten) keep(token, found, asked);
      return found?.viewer ?? null;
    },
    forget,
  };
}
