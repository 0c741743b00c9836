import pg from "pg";
import t from "tap";
import { v7 as newId } from "uuid";
import { inTransaction } from "../../src/db/transaction.ts";
import { registry } from "../../src/metrics.ts";
import { testDatabase } from "../../test/support/database.ts";
import { openCaching } from "../../test/support/product/redis.ts";
import { waitFor } from "../../test/support/server.ts";
import { redisService } from "../../test/support/services.ts";
import { Builder } from "./building.ts";
import { entryOf } from "./entries.ts";
import { dropTimelines, Timelines } from "./timelines.ts";

const service = await redisService(t);
if (!service) process.exit();
const { url } = await testDatabase(t);
const processes = [await openCaching(t, url, service), await openCaching(t, url, service)] as const;
const [context] = processes;
const [builder, other] = processes.map((one) => new Builder(one, new Timelines(one.redis))) as [Builder, Builder];
const timelines = new Timelines(context.redis);
const pool = new pg.Pool({ connectionString: url, max: 4 });
t.teardown(() => pool.end());

async function account(): Promise<string> {
  const id = newId();
  await pool.query(
    "INSERT INTO users (id, username, email, password_hash) VALUES ($1, $2, $2 || '@example.org', 'none')",
    [id, `u${id.replaceAll("-", "").slice(-28)}`],
  );
  return id;
}

async function follow(follower: string, author: string): Promise<void> {
  await pool.query("INSERT INTO follows (follower_id, following_id) VALUES ($1, $2)", [follower, author]);
}

async function post(author: string): Promise<{ id: string; at: Date }> {
  const made = { id: newId(), at: new Date() };
  await pool.query("INSERT INTO posts (id, user_id, status, published_at) VALUES ($1, $2, 'published', $3)", [
    made.id,
    author,
    made.at,
  ]);
  return made;
}

const idsOf = async (viewer: string) =>
  (await timelines.read("timeline", viewer, { after: null, count: 100 }))?.entries.map(({ id }) => id) ?? null;
const builds = async () =>
  Number((await registry.getSingleMetric("tintype_feed_rebuilds_total")?.get())?.values[0]?.value);

/** Lets whoever reads follows wait until the returned function is called. */
async function holdFollows(): Promise<() => Promise<void>> {
  const client = await pool.connect();
  await client.query("BEGIN; LOCK TABLE follows IN ACCESS EXCLUSIVE MODE");
  return async () => {
    await client.query("COMMIT");
    client.release();
  };
}

const waiting = (count: number) =>
  waitFor(async () => {
    const { rows } = await pool.query(
      "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
    );
    return rows.length === count;
  }, `${count} to wait for a lock`);

t.test("a post that is published while a timeline is built is in it, once", async (t) => {
  const [viewer, author] = [await account(), await account()];
  await follow(viewer, author);
  const old = await post(author);
  const release = await holdFollows();
  const built = builder.build("timeline", viewer);
  await waiting(1);
  // Published, and pushed, before Postgres is read: the read finds it too. The other one only the push brings.
  const both = await post(author);
  const pushed = { id: newId(), at: new Date(Date.now() + 1) };
  for (const one of [both, pushed, both]) t.equal(await timelines.push("timeline", [viewer], entryOf(one)), 1);
  t.equal(await idsOf(viewer), null, "nobody reads half a timeline");
  await release();
  t.equal(await built, true);
  t.same(await idsOf(viewer), [pushed.id, both.id, old.id]);
});

t.test("however many ask, in however many processes, it is built once", async (t) => {
  const viewer = await account();
  const mine = await post(viewer);
  const before = await builds();
  const release = await holdFollows();
  const all = Array.from({ length: 40 }, (_, index) => (index % 2 ? builder : other).build("timeline", viewer));
  await waiting(1);
  await release();
  t.same(new Set(await Promise.all(all)), new Set([true]));
  t.equal((await builds()) - before, 1);
  t.same(await idsOf(viewer), [mine.id]);
});

t.test("a change that begins, commits or is undone while a timeline is built", async (t) => {
  const [viewer, author] = [await account(), await account()];
  await post(author);
  const begun = Promise.withResolvers<void>();
  const end = Promise.withResolvers<boolean>();
  const changing = inTransaction(context.db, async (tx) => {
    await tx.insertInto("follows").values({ follower_id: viewer, following_id: author }).execute();
    await dropTimelines(tx, context, [viewer]);
    begun.resolve();
    if (!(await end.promise)) throw new Error("undone");
  }).catch((error: unknown) => String(error));
  await begun.promise;
  t.equal(await builder.build("timeline", viewer), false, "not kept while nobody knows how it ends");
  t.equal(await idsOf(viewer), null);
  end.resolve(false);
  t.match(await changing, /undone/);
  t.equal(await builder.build("timeline", viewer), true);
  t.same(await idsOf(viewer), []);

  await inTransaction(context.db, async (tx) => {
    await tx.insertInto("follows").values({ follower_id: viewer, following_id: author }).execute();
    await dropTimelines(tx, context, [viewer]);
  });
  t.equal(await idsOf(viewer), null, "the next read builds it");
  t.equal(await builder.build("timeline", viewer), true);
  t.equal((await idsOf(viewer))?.length, 1);
});

t.test("a change that Redis could not be told of makes all void, for every process", async (t) => {
  const viewer = await account();
  t.equal(await builder.build("timeline", viewer), true);
  const failing = {
    notices: context.notices,
    redis: Object.create(context.redis, { invalidate: { value: failingInvalidate } }),
  };
  const epoch = context.redis.epoch();
  await inTransaction(context.db, (tx) => dropTimelines(tx, failing, [viewer]));
  for (const { redis } of processes) {
    await waitFor(async () => {
      try {
        return redis.epoch() !== epoch;
      } catch {
        return false;
      }
    }, "a new epoch");
  }
  t.equal(await idsOf(viewer), null);

  /** The product's own, told that Redis did not answer. */
  async function failingInvalidate(tx: Parameters<typeof dropTimelines>[0]) {
    const { RedisUnavailableError } = await import("../../src/redis/redis.ts");
    await context.redis.invalidate(tx, async () => {
      throw new RedisUnavailableError("hung");
    });
  }
});
