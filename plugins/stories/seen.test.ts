/**
 * What Redis spares views, through three servers on a real Postgres and Redis; on one of them stories are off. It must never
 * be behind the rule of who may see what.
 */
import { setTimeout as delay } from "node:timers/promises";
import { sql } from "kysely";
import t from "tap";
import { v7 as newId } from "uuid";
import type { Context } from "../../src/context.ts";
import { inTransaction } from "../../src/db/transaction.ts";
import type { EventName } from "../../src/events.ts";
import { HttpError } from "../../src/http/errors.ts";
import { testDatabase } from "../../test/support/database.ts";
import { changeAccount, deleteByOperator, setSuspended } from "../../test/support/product/accounts.ts";
import { openContext } from "../../test/support/product/context.ts";
import * as graph from "../../test/support/product/graph.ts";
import { endIn, newAccount, publishStory, untilWaiting } from "../../test/support/product/stories.ts";
import { waitFor } from "../../test/support/server.ts";
import { redisService } from "../../test/support/services.ts";
import { MOST_SEEN, SeenStories } from "./seen.ts";
import { removeStory } from "./stories.ts";
import { forgetting } from "./told.ts";
import { Trays } from "./tray.ts";
import { recordViews } from "./view-store.ts";
import { Views } from "./views.ts";

const service = await redisService(t, { own: true });
if (!service) process.exit();
const { url } = await testDatabase(t);
const one = await openContext(t, url, service);
const other = await openContext(t, url, service);
const without = await openContext(t, url, service, { without: ["stories"] });
const { db, redis } = one;
if (!redis) throw new Error("there is a Redis");
const [views, others] = [new Views(one), new Views(other)];
/** Looks into Redis as a further process would. */
const spare = new SeenStories(other);
const missing = "STORY_NOT_FOUND";

/** What a view is answered. */
async function look(by: Views, viewer: string, id: string): Promise<boolean | string> {
  try {
    return (await by.view(viewer, id)).new_view;
  } catch (error) {
    if (error instanceof HttpError) return error.code;
    throw error;
  }
}

/** Looks once more, until a look was kept in Redis. */
async function untilSpared(viewer: string, id: string): Promise<void> {
  await waitFor(async () => {
    const asked = spare.ask();
    await spare.keep(asked, await recordViews(other.db, [{ story_id: id, viewer_id: viewer }]));
    return spare.has(viewer, id);
  }, "the view to lie in Redis");
}

interface Pair {
  author: string;
  viewer: string;
  id: string;
}

/** A story that the viewer sees, and has seen, as Redis knows. */
async function seenStory({ isPrivate = false, close = false } = {}): Promise<Pair> {
  const [author, viewer] = [await newAccount(db, { is_private: isPrivate }), await newAccount(db)];
  if (isPrivate) {
    await graph.follow(one, viewer, author);
    await graph.approve(one, author, viewer);
  }
  if (close) await graph.addCloseFriend(one, author, viewer);
  const id = await publishStory(one, author, close ? "close_friends" : "everyone");
  await untilSpared(viewer, id);
  return { author, viewer, id };
}

/** The server, where this is told and then held before it is committed. */
function holding(context: Context, event: EventName, between: () => Promise<unknown>): Context {
  return {
    ...context,
    emit: async (...told) => {
      await context.emit(...told);
      if (told[1] === event) await between();
    },
  };
}

const ENDS: Record<string, (by: Context, pair: Pair) => Promise<unknown>> = {
  "a block": (by, { author, viewer }) => graph.block(by, author, viewer),
  "a block of the author": (by, { author, viewer }) => graph.block(by, viewer, author),
  "stories hidden": (by, { author, viewer }) => graph.hideStories(by, author, viewer),
  "an unfollow": (by, { author, viewer }) => graph.unfollow(by, viewer, author),
  "no close friend": (by, { author, viewer }) => graph.removeCloseFriend(by, author, viewer),
  private: (by, { author }) => changeAccount(by, author, { is_private: true }),
  suspended: (by, { author }) => setSuspended(by, author, true),
  deleted: (by, { author }) => deleteByOperator(by, author),
  removed: (by, { author, id }) => removeStory(by, author, id),
};

for (const [server, by] of Object.entries({ "where stories are on": one, "where they are off": without })) {
  t.test(`whoever may not see it any more is answered by no Redis: told ${server}`, async (t) => {
    for (const [how, end] of Object.entries(ENDS)) {
      const pair = await seenStory({ isPrivate: how === "an unfollow", close: how === "no close friend" });
      await end(by, pair);
      t.notOk(await spare.has(pair.viewer, pair.id), how);
      t.same([await look(views, pair.viewer, pair.id), await look(others, pair.viewer, pair.id)], [missing, missing]);
    }
    const { author, viewer, id } = await seenStory();
    await graph.follow(by, viewer, author);
    const trays = new Trays(other);
    for (let reads = 0; reads < 3; reads++) t.match(await trays.of(viewer), [{ user: { id: author } }]);
    await graph.unfollow(by, viewer, author);
    t.ok(await spare.has(viewer, id), "an unfollow of a public account drops nothing");
    t.same(await trays.of(viewer), [], "but the tray");
  });
}

t.test("what was read before a change ends is not kept", async (t) => {
  const [author, viewer] = [await newAccount(db), await newAccount(db)];
  const id = await publishStory(one, author);
  const asked = spare.ask();
  const before = await recordViews(db, [{ story_id: id, viewer_id: viewer }]);
  const blocking = holding(one, "account.blocked", async () => {
    t.equal(await look(others, viewer, id), false, "it is not committed yet");
    await spare.keep(asked, before);
    t.notOk(await spare.has(viewer, id), "while it is under way");
  });
  await graph.block(blocking, author, viewer);
  await spare.keep(asked, before);
  t.notOk(await spare.has(viewer, id), "and afterwards");
  t.equal(await look(views, viewer, id), missing);
});

t.test("a removal waits for another change of who sees the author's stories", async (t) => {
  for (const isRemoval of [true, false]) {
    const { author, viewer, id } = await seenStory();
    const [second, trays] = [await publishStory(one, author), new Trays(other)];
    await graph.follow(one, viewer, author);
    let [told, removing] = [false, Promise.resolve()];
    const removal = holding(other, "story.removed", async () => {
      told = true;
    });
    const first = holding(one, isRemoval ? "story.removed" : "account.blocked", async () => {
      removing = removeStory(removal, author, second);
      await Promise.race([removing, untilWaiting(db)]);
      t.notOk(told, "Redis remembers one change, so this is not told while another is under way");
      t.match(await trays.of(viewer), [{ count: 2 }], "nothing is committed yet");
    });
    if (isRemoval) await removeStory(first, author, id);
    else await graph.block(first, author, viewer);
    await removing;
    t.ok(told);
    t.same(await trays.of(viewer), [], "neither is there");
    t.equal(await look(views, viewer, id), missing);
  }
});

t.test("a story that is over is over, whatever the clock of Redis says", async (t) => {
  const [author, viewer] = [await newAccount(db), await newAccount(db)];
  const id = await publishStory(one, author);
  await endIn(db, id, 3_000);
  await untilSpared(viewer, id);
  const keys = ["story-seen", "story-seen-head"].map((kind) => redis.key(kind, id));
  for (const key of keys) t.ok((await redis.client().pttl(key)) > 0, "it goes by itself");
  // As if its clock had been set back.
  for (const key of keys) await redis.client().persist(key);
  await waitFor(async () => {
    const { rows } = await sql`SELECT FROM stories WHERE id = ${id} AND expires_at <= clock_timestamp()`.execute(db);
    return rows.length > 0;
  }, "the story to be over");
  t.equal(await redis.client().exists(...keys), 2);
  t.notOk(await spare.has(viewer, id));
  t.equal(await look(views, viewer, id), missing);
});

t.test("a Redis that was emptied, hangs or is gone changes no answer", async (t) => {
  const { author, viewer, id } = await seenStory();
  const late = await newAccount(db);
  await redis.client().flushall();
  t.notOk(await spare.has(viewer, id));
  t.equal(await look(views, viewer, id), false);
  await untilSpared(viewer, id);
  service.pause();
  t.same([await look(views, viewer, id), await look(others, late, id)], [false, true]);
  // Told to nobody: what lies in Redis is void.
  await graph.block(one, author, viewer);
  service.resume();
  await untilSpared(late, id);
  t.equal(await look(others, viewer, id), missing);
});

t.test("a Redis that answers and refuses changes no answer either", async (t) => {
  const { viewer, id } = await seenStory();
  const viewers = redis.key("story-seen", id);
  await redis.client().set(viewers, "no set");
  t.equal(await spare.has(viewer, id), false);
  t.equal(await look(others, viewer, id), false);
  t.equal(await look(others, await newAccount(db), id), true);
  t.equal(await redis.client().type(viewers), "string", "it refused until then");
});

t.test("who changes something without Redis makes what lies there void", async () => {
  const { author, viewer, id } = await seenStory();
  // As a command does, which does not say at its start that it has none.
  await inTransaction(db, async (tx) => {
    await forgetting["account.went_private"]?.(tx, { user_id: author }, { ...one, redis: null });
  });
  await waitFor(async () => !(await spare.has(viewer, id)), "others to hear of it");
});

t.test("Redis keeps so many viewers of a story and no more", async (t) => {
  const { viewer, id } = await seenStory();
  const [found] = await recordViews(db, [{ story_id: id, viewer_id: viewer }]);
  if (!found) throw new Error("it is there");
  for (let batch = 0; batch < MOST_SEEN / 1_000 + 1; batch++) {
    const many = Array.from({ length: 1_000 }, () => ({ ...found, viewer_id: newId() }));
    await spare.keep(spare.ask(), many);
  }
  t.equal(await redis.client().scard(redis.key("story-seen", id)), MOST_SEEN);
});

// Nothing that was put in the background is still under way.
t.teardown(() => delay(50));
