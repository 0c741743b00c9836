import limitTo from "p-limit";
import type { Context } from "../../src/context.ts";
import type { Db } from "../../src/db/transaction.ts";
import { jobStatus } from "../../src/jobs/admin.ts";
import { inspectRedis } from "../../src/redis/inspect.ts";
import type { RedisStore } from "../../src/redis/redis.ts";
import { type Line, Timelines } from "./timelines.ts";

/** Timelines that are measured one by one; of more a random sample of as many is. */
const SAMPLE = 1_000;
const AT_ONCE = 16;
/** Pulled authors that are named. */
const NAMED = 20;

export interface FanOutStatus {
  timelines: number;
  author_lists: number;
  /** Of all timelines, and the bytes that they take, the viewers' snapshots beside them included. */
  entries: number;
  bytes: number;
  /** How many timelines the two were measured of, where it was not all of them; then they are estimates. */
  sampled: number | null;
  celebrities: {
    count: number;
    top: { username: string; follower_count: number; pulled_since: Date }[];
  };
  backlog: {
    /** That wait, are to be tried again, or run. */
    jobs: number;
    /** How long the oldest that could run now has been waiting; null when none does. */
    oldest_seconds: number | null;
  };
  redis: {
    version: string;
    mode: "single" | "cluster";
    masters: number;
    /** Null where it has no limit for its memory. */
    evicts: string | null;
  };
  epoch: string;
}

/** What operators see of timelines. @throws RedisUnavailableError */
export async function fanOutStatus(
  { db, redis }: Pick<Context, "db"> & { redis: RedisStore },
  signal: AbortSignal,
): Promise<FanOutStatus> {
  const timelines = new Timelines(redis);
  const { count, sample } = await drawSample(timelines, "timeline", signal);
  const measured = await limitTo(AT_ONCE).map(sample, (id) => timelines.measure("timeline", id));
  const scale = sample.length === 0 ? 0 : count / sample.length;
  const sumOf = (key: "entries" | "bytes") => Math.round(measured.reduce((sum, one) => sum + one[key], 0) * scale);
  const queue = (await jobStatus(db)).find(({ queue }) => queue === "feed.fan_out");
  const { product, version, cluster, masters, evicts } = await inspectRedis(redis.client());
  return {
    timelines: count,
    author_lists: (await drawSample(timelines, "author", signal)).count,
    entries: sumOf("entries"),
    bytes: sumOf("bytes"),
    sampled: count > SAMPLE ? SAMPLE : null,
    celebrities: await celebrities(db),
    backlog: {
      jobs: queue ? queue.waiting + queue.retrying + queue.active : 0,
      oldest_seconds: queue?.oldest_seconds ?? null,
    },
    redis: { version: `${product} ${version}`, mode: cluster ? "cluster" : "single", masters, evicts },
    epoch: redis.epoch(),
  };
}

/** Counts the lines, and draws some of them at random: each is as likely as any other, however many there are. */
async function drawSample(
  timelines: Timelines,
  line: Line,
  signal: AbortSignal,
): Promise<{ count: number; sample: string[] }> {
  const sample: string[] = [];
  let count = 0;
  for await (const id of timelines.ids(line)) {
    if (count % SAMPLE === 0) signal.throwIfAborted();
    count += 1;
    const place = sample.length < SAMPLE ? sample.length : Math.floor(Math.random() * count);
    if (place < SAMPLE) sample[place] = id;
  }
  return { count, sample };
}

async function celebrities(db: Db): Promise<FanOutStatus["celebrities"]> {
  const pulled = db
    .selectFrom("pulled_authors")
    .innerJoin("users", "users.id", "pulled_authors.user_id")
    .where("returned_xid", "is", null);
  const [top, { count }] = await Promise.all([
    pulled
      .select(["username", "follower_count", "pulled_since"])
      .orderBy("follower_count", "desc")
      .orderBy("username")
      .limit(NAMED)
      .execute(),
    pulled.select((rows) => rows.fn.countAll<number>().as("count")).executeTakeFirstOrThrow(),
  ]);
  return { count: Number(count), top };
}
