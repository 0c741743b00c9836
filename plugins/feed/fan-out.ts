import type { Context } from "../../src/context.ts";
import { inTransaction, type Tx } from "../../src/db/transaction.ts";
import { DependencyError } from "../../src/errors.ts";
import type { Run } from "../../src/jobs/job.ts";
import { isOutage } from "../../src/jobs/queue.ts";
import { endEpochOfOthers } from "../../src/redis/epoch.ts";
import type { RedisStore } from "../../src/redis/redis.ts";
import { entryOf } from "./entries.ts";
import { fanOutSeconds, pushes } from "./metrics.ts";
import { isPulledOnly } from "./pulled.ts";
import { type Followers, followersOf } from "./store.ts";
import { Timelines } from "./timelines.ts";

/** A post that is to be pushed to timelines, or taken out of them. Its row may be gone. */
export interface FanOut {
  post_id: string;
  author_id: string;
  /** ISO 8601. */
  published_at: string;
  action: "push" | "remove";
  /** After which follower it goes on; absent for the first job of a post. */
  after?: { at: string; id: string };
}

declare module "../../src/jobs/job.ts" {
  interface JobData {
    "feed.fan_out": FanOut;
  }
}

/** Followers that are read at a time, and those that one job serves: then others come in between. */
const CHUNK = 10_000;
const JOB = 50_000;
/** Timelines of one call: some 3 µs each, during which Redis does nothing else. */
const CALL = 200;

/** Enqueues what a post that was published, or deleted, means for timelines. */
export async function enqueueFanOut(
  tx: Tx,
  { enqueue, notices, redis }: Pick<Context, "enqueue" | "notices" | "redis">,
  post: { post_id: string; author_id: string; published_at: Date },
  action: FanOut["action"],
): Promise<void> {
  if (redis === null) return endEpochOfOthers(tx, notices);
  await enqueue(tx, "feed.fan_out", { ...post, published_at: post.published_at.toISOString(), action });
}

/**
 * Pushes a post to the timelines of its author's followers, or takes it out, for one job's number of them; the rest is
 * the next job's, which yields to other posts. It may run twice: what is there already is not put there again.
 */
export async function fanOut(context: Context, job: FanOut, run: Pick<Run, "last" | "log" | "signal">): Promise<void> {
  const { redis } = context;
  if (redis === null) {
    throw new DependencyError("this worker has no Redis; set TINTYPE_REDIS_URL as where the post was published");
  }
  const started = performance.now();
  const done = await serve(context, redis, job, run.signal).catch(async (error: unknown) => {
    // Nobody else will do it: better no timelines than some without the post.
    if (run.last && !isOutage(error)) await inTransaction(context.db, (tx) => endEpochOfOthers(tx, context.notices));
    throw error;
  });
  const ms = performance.now() - started;
  fanOutSeconds.observe(ms / 1_000);
  if (job.action === "push") pushes.inc(done.pushed);
  const { post_id, action } = job;
  run.log.info({ post_id, action, followers: done.followers, pushed: done.pushed, ms: Math.round(ms) }, "fanned out");
  const { next } = done;
  if (next === null) return;
  await inTransaction(context.db, (tx) =>
    context.enqueue(
      tx,
      "feed.fan_out",
      { ...job, after: { at: next.at.toISOString(), id: next.id } },
      { priority: -1 },
    ),
  );
}

async function serve(
  context: Context,
  redis: RedisStore,
  { post_id, author_id, action, ...job }: FanOut,
  signal: AbortSignal,
): Promise<{ followers: number; pushed: number; next: Followers["next"] }> {
  // Before anything is read: what lies in Redis may be void, and then there is nothing to push to.
  redis.epoch();
  const published_at = new Date(job.published_at);
  const entry = entryOf({ at: published_at, id: post_id });
  const timelines = new Timelines(redis);
  const apply = (line: "timeline" | "author", ids: readonly string[]) =>
    action === "push" ? timelines.push(line, ids, entry) : timelines.remove(line, ids, [entry]);

  let pushed = 0;
  // One that was deleted before a try that was put back came again.
  if (action === "push" && !(await isPublished(context, post_id))) return { followers: 0, pushed: 0, next: null };
  if (!job.after) {
    if ((await apply("author", [author_id])) > 0) {
      await inTransaction(context.db, (tx) => context.notices.tell(tx, "feed.author", author_id));
    }
    pushed += await apply("timeline", [author_id]);
  }
  if (await isPulledOnly(context, { author_id, published_at })) return { followers: 0, pushed, next: null };
  const chunk = (after: Followers["next"]) =>
    followersOf(context.db, { authorId: author_id, postId: action === "push" ? post_id : null, after, limit: CHUNK });
  let followers = 0;
  let reading = chunk(job.after ? { at: new Date(job.after.at), id: job.after.id } : null);
  for (;;) {
    const read = await reading;
    signal.throwIfAborted();
    followers += read.count;
    const goesOn = read.next !== null && followers < JOB;
    // The next are read while Redis takes these.
    if (goesOn) reading = chunk(read.next);
    try {
      const counts = await Promise.all(
        read.byTag.flatMap((ids) => inCalls(ids).map((some) => apply("timeline", some))),
      );
      pushed += counts.reduce((sum, count) => sum + count, 0);
    } catch (error) {
      await reading.catch(() => undefined);
      throw error;
    }
    if (!goesOn) return { followers, pushed, next: read.next };
  }
}

async function isPublished({ db }: Pick<Context, "db">, postId: string): Promise<boolean> {
  const post = await db.selectFrom("posts").select("id").where("id", "=", postId).executeTakeFirst();
  return post !== undefined;
}

function inCalls(ids: readonly string[]): string[][] {
  return Array.from({ length: Math.ceil(ids.length / CALL) }, (_, index) =>
    ids.slice(index * CALL, (index + 1) * CALL),
  );
}
