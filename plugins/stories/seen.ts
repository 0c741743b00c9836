import { NIL } from "uuid";
import type { Context } from "../../src/context.ts";
import { parsePgSnapshot } from "../../src/db/snapshot.ts";
import type { Tx } from "../../src/db/transaction.ts";
import { oncePer } from "../../src/log.ts";
import { endEpochOfOthers } from "../../src/redis/epoch.ts";
import { CHANGES_KEPT } from "../../src/redis/kept-values.ts";
import { isReplyError, type RedisStore, RedisUnavailableError } from "../../src/redis/redis.ts";
import { defineScript, KNOWS_ALL, pgSnapshotArgs } from "../../src/redis/scripts.ts";
import { activeStories, type RecordedView } from "./view-store.ts";

/** Viewers of one story that are kept; of more, any are let go. */
export const MOST_SEEN = 20_000;
/** Milliseconds for which it is believed how far the database's clock is from this process' own, which never goes back. */
const CLOCK_BELIEVED = 10_000;
/** Stories whose sets one look drops. */
const PAGE = 500;

/**
 * KEYS viewers, head, last change, generation; ARGV snapshot, head, milliseconds to live, viewers. Keeps them unless a
 * transaction changes, or changed, who may see the story, and the statement that said they may does not know of it.
 * @returns 0 if there is no generation.
 */
const KEEP = defineScript(`${KNOWS_ALL}
if not knows_all(KEYS[3], KEYS[4], ARGV[1], ARGV[2], ARGV[3]) then return redis.call('EXISTS', KEYS[4]) end
if redis.call('GET', KEYS[2]) ~= ARGV[4] then redis.call('DEL', KEYS[1]) end
for i = 6, #ARGV do redis.call('SADD', KEYS[1], ARGV[i]) end
local over = redis.call('SCARD', KEYS[1]) - ${MOST_SEEN}
if over > 0 then redis.call('SPOP', KEYS[1], over) end
redis.call('SET', KEYS[2], ARGV[4], 'PX', ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return 1`);

/** KEYS viewers, head; ARGV viewer. @returns the head if the viewer is among them. */
const SEEN = defineScript("return redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 1 and redis.call('GET', KEYS[2])");

/** KEYS viewers, head, last change; ARGV the transaction that changes, seconds that it is remembered. */
const DROP = defineScript(`
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('SET', KEYS[3], ARGV[1], 'EX', ARGV[2])`);

/** What was so before Postgres was asked. */
export interface Asked {
  /** Null while Redis does not answer. */
  epoch: string | null;
  /** By the process' own clock. */
  at: number;
}

/**
 * Who has seen which story, in Redis, so that a view that only repeats is answered without Postgres. It answers for nobody who may not see
 * the story any more: what changes that drops the set before it commits. And not when it is over, by the database's clock.
 */
export class SeenStories {
  readonly #context: Pick<Context, "redis" | "notices">;
  readonly #complain: (error: unknown) => void;
  /** How far the database's clock is from `performance.now()`, at most, and when that was asked. */
  #clock = { offset: 0, at: Number.NEGATIVE_INFINITY };

  constructor({ log, ...context }: Pick<Context, "redis" | "notices" | "log">) {
    this.#context = context;
    this.#complain = oncePer(10_000, (err) =>
      log.warn({ err }, "views of stories cannot be looked up, or kept, in Redis"),
    );
  }

  /** Whether the viewer surely has seen the story and may see it now. */
  async has(viewerId: string, storyId: string): Promise<boolean> {
    const { redis, notices } = this.#context;
    if (redis === null || !notices.live || performance.now() - this.#clock.at > CLOCK_BELIEVED) return false;
    try {
      const head = await redis.run(SEEN, keysOf(redis, storyId).slice(0, 2), [bytesOf(viewerId)]);
      if (head === null) return false;
      const [expires, epoch] = String(head).split(" ");
      // No earlier than the database's clock is: no story is taken to be shown that is over.
      return epoch === redis.epoch() && performance.now() + this.#clock.offset < Number(expires);
    } catch (error) {
      // Postgres is asked: Redis only spares it work.
      if (error instanceof RedisUnavailableError) return false;
      if (!isReplyError(error)) throw error;
      this.#complain(error);
      return false;
    }
  }

  /** To be called before Postgres is asked: what is kept must not bear an epoch that began after. */
  ask(): Asked {
    const at = performance.now();
    try {
      return { epoch: this.#context.redis?.epoch() ?? null, at };
    } catch (error) {
      if (error instanceof RedisUnavailableError) return { epoch: null, at };
      throw error;
    }
  }

  /** Keeps what one statement has found, and committed. Nobody need wait for it. */
  async keep({ epoch, at }: Asked, views: readonly RecordedView[]): Promise<void> {
    const [first] = views;
    if (!first) return;
    // A millisecond more, since the time came without its microseconds.
    const offset = first.read_at.getTime() + 1 - at;
    this.#clock = { offset, at };
    const { redis } = this.#context;
    if (redis === null || epoch === null) return;
    const seen = pgSnapshotArgs(parsePgSnapshot(first.snapshot));
    try {
      await Promise.all(
        [...Map.groupBy(views, ({ story_id }) => story_id)].map(async ([id, ofStory]) => {
          const expires = ofStory[0]?.expires_at.getTime() ?? 0;
          const left = Math.floor(expires - offset - performance.now());
          if (left <= 0) return;
          const keys = [...keysOf(redis, id), redis.generationKey(id)];
          const viewers = ofStory.map(({ viewer_id }) => bytesOf(viewer_id));
          const kept = await redis.run(KEEP, keys, [...seen, `${expires} ${epoch}`, left, ...viewers]);
          if (kept === 0) await redis.beginGenerations();
        }),
      );
    } catch (error) {
      // What is not there is asked of Postgres.
      if (!(error instanceof RedisUnavailableError)) this.#complain(error);
    }
  }
}

type DropContext = Pick<Context, "redis" | "notices">;

/**
 * Forgets who has seen the stories of these authors from this transaction on, which makes that some may not see them any
 * more. The caller holds the authors' accounts: two such changes at once, and what was read between their ends would be kept.
 * @param options.privateOnly of those who are private: what a follow that ended changes nothing of stays.
 */
export async function dropSeenOf(
  tx: Tx,
  context: DropContext,
  authorIds: readonly string[],
  { privateOnly = false } = {},
): Promise<void> {
  for (let after: string = NIL; ; ) {
    const ids = await activeStories(tx, authorIds, { privateOnly, after, limit: PAGE });
    if (ids.length > 0) await drop(tx, context, ids);
    if (ids.length < PAGE) return;
    after = ids.at(-1) ?? NIL;
  }
}

/** The same for one story, which is removed. The caller holds its author's account. */
export async function dropSeen(tx: Tx, context: DropContext, storyId: string): Promise<void> {
  await drop(tx, context, [storyId]);
}

async function drop(tx: Tx, { redis, notices }: DropContext, ids: readonly string[]): Promise<void> {
  if (redis === null) return endEpochOfOthers(tx, notices);
  await redis.invalidate(tx, (xid) =>
    Promise.all(ids.map((id) => redis.run(DROP, keysOf(redis, id), [xid, CHANGES_KEPT]))),
  );
}

/** Of the viewers, of what is said of all of them (when the story is over, in milliseconds, and the epoch), and of the last change. */
function keysOf(redis: RedisStore, storyId: string): [string, string, string] {
  return [
    redis.key("story-seen", storyId),
    redis.key("story-seen-head", storyId),
    redis.key("story-seen-changed", storyId),
  ];
}

function bytesOf(id: string): Buffer {
  return Buffer.from(id.replaceAll("-", ""), "hex");
}
