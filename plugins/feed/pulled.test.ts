import pg from "pg";
import t from "tap";
import { v7 as newId } from "uuid";
import { inTransaction } from "../../src/db/transaction.ts";
import { testDatabase } from "../../test/support/database.ts";
import { load } from "../../test/support/product/config.ts";
import { silent } from "../../test/support/product/database.ts";
import { openCaching } from "../../test/support/product/redis.ts";
import { waitFor } from "../../test/support/server.ts";
import { redisService } from "../../test/support/services.ts";
import { entryOf } from "./entries.ts";
import { Feed } from "./feed.ts";
import { isPulledOnly, PulledList, settlePull } from "./pulled.ts";
import { Timelines } from "./timelines.ts";

const service = await redisService(t);
if (!service) process.exit();
const { url } = await testDatabase(t);
const { config } = load({ env: { TINTYPE_FEED_FANOUT_THRESHOLD: "10" } });
const context = { ...(await openCaching(t, url, service)), config, log: silent };
const feed = new Feed(context);
const timelines = new Timelines(context.redis);
const list = new PulledList(context);
const pool = new pg.Pool({ connectionString: url, max: 4 });
t.teardown(() => pool.end());

async function account(): Promise<string> {
  const id = newId();
  const name = `u${id.replaceAll("-", "").slice(-28)}`;
  await pool.query(
    "INSERT INTO users (id, username, email, password_hash) VALUES ($1, $2, $2 || '@example.org', 'none')",
    [id, name],
  );
  return id;
}

async function follower(author: string): Promise<string> {
  const id = await account();
  await pool.query("INSERT INTO follows (follower_id, following_id) VALUES ($1, $2)", [id, author]);
  return id;
}

/** Publishes as the product does, for an author who has so many followers now. @returns the id, and whether it was pushed. */
async function publish(author: string, followers: number, to: readonly string[]) {
  const post = { id: newId(), published_at: new Date() };
  await pool.query("UPDATE users SET follower_count = $2 WHERE id = $1", [author, followers]);
  await inTransaction(context.db, async (tx) => {
    await tx
      .insertInto("posts")
      .values({
        ...post,
        user_id: author,
        caption: null,
        status: "published",
        failure_code: null,
        failure_message: null,
      })
      .execute();
    await settlePull(tx, context, author);
  });
  const pulledOnly = await isPulledOnly(context, { author_id: author, published_at: post.published_at });
  const entry = entryOf({ at: post.published_at, id: post.id });
  await timelines.push("author", [author], entry);
  if (!pulledOnly) for (const id of to) await timelines.push("timeline", [id], entry);
  await inTransaction(context.db, (tx) => context.notices.tell(tx, "feed.author", author));
  return { id: post.id, pushed: !pulledOnly };
}

/** As if the author had been pulled for long: every server knows. */
const longAgo = (author: string) =>
  pool.query("UPDATE pulled_authors SET pulled_since = now() - interval '1 hour' WHERE user_id = $1", [author]);

const isPulled = async (author: string) => {
  const pulled = (await list.get()).get(author);
  return pulled !== undefined && pulled.returned === null;
};
/** Once all notices have come. */
const knows = (author: string, pulled: boolean) =>
  waitFor(async () => (await isPulled(author)) === pulled, `the list to have it ${pulled}`);

const read = async (viewer: string, limit = 20) => {
  const page = await feed.page(viewer, { limit, after: null });
  t.equal(page.degraded, false);
  return page.items.map(({ entry }) => entry.id);
};

t.test("an author crosses at the threshold, and back only below nine tenths of it", async (t) => {
  const author = await account();
  for (const [followers, pulled] of [
    [9, false],
    [10, true],
    [11, true],
    [9, true],
    [8, false],
    [9, false],
    [10, true],
  ] as const) {
    await publish(author, followers, []);
    await knows(author, pulled);
    t.equal(await isPulled(author), pulled, `${followers} followers`);
  }
});

t.test("nothing is lost or shown twice at either crossing, whenever a timeline was built", async (t) => {
  const author = await account();
  const early = await follower(author);
  const first = await publish(author, 9, []);
  t.same(await read(early), [first.id], "built while the author was pushed");

  const crossing = await publish(author, 10, [early]);
  t.equal(crossing.pushed, true, "not every server knows yet");
  await knows(author, true);
  t.same(await read(early), [crossing.id, first.id]);
  await longAgo(author);
  const pulled = await publish(author, 10, [early]);
  t.equal(pulled.pushed, false);
  const middle = await follower(author);
  const expected = [pulled.id, crossing.id, first.id];
  for (const viewer of [early, middle]) {
    await waitFor(async () => (await read(viewer)).length === 3, "the list to be read again");
    t.same(await read(viewer), expected, "one built before, one while the author was pulled");
  }
  t.same(
    (await timelines.read("timeline", middle, { after: null, count: 9 }))?.entries,
    [],
    "which holds nothing of it",
  );

  const back = await publish(author, 8, [early, middle]);
  t.equal(back.pushed, true);
  await knows(author, false);
  const late = await follower(author);
  const last = await publish(author, 8, [early, middle, late]);
  for (const viewer of [early, middle, late]) {
    await waitFor(async () => (await read(viewer))[0] === last.id, "the list to be read again");
    t.same(await read(viewer), [last.id, back.id, ...expected]);
    t.same(await read(viewer, 2), [last.id, back.id, pulled.id], "a page, and one more");
  }
  t.equal((await timelines.read("timeline", late, { after: null, count: 9 }))?.entries.length, 5, "built of all of it");
  t.same(await read(author), [last.id, back.id, ...expected], "the author's own feed");
});
