/**
 * Views of stories through two processes, and what Redis spares them, on a real Postgres and Redis. What is counted is held
 * against the rows, what is answered against the rule of who may see what, which Redis must never be behind.
 */

import { setTimeout as delay } from "node:timers/promises";
import { sql } from "kysely";
import t from "tap";
import { v7 as newId } from "uuid";
import { verifyCounters } from "../../src/counters.ts";
import { inTransaction, type Tx } from "../../src/db/transaction.ts";
import { createEmit, type EventName, type Events } from "../../src/events.ts";
import { HttpError } from "../../src/http/errors.ts";
import { testDatabase } from "../../test/support/database.ts";
import { exactly } from "../../test/support/exactly.ts";
import { silent } from "../../test/support/product/database.ts";
import { openCaching } from "../../test/support/product/redis.ts";
import { waitFor } from "../../test/support/server.ts";
import { redisService } from "../../test/support/services.ts";
import { storyCounters } from "./counters.ts";
import { stories } from "./plugin.ts";
import { MOST_SEEN, SeenStories } from "./seen.ts";
import { listViewers, recordViews } from "./view-store.ts";
import { Views } from "./views.ts";

const service = await redisService(t, { own: true });
if (!service) process.exit();
const { url } = await testDatabase(t);
const processes = [await openCaching(t, url, service), await openCaching(t, url, service)] as const;
const [{ db, redis }, other] = processes;
const [views, others] = processes.map((context) => new Views({ ...context, log: silent })) as [Views, Views];
/** Looks into Redis as a third process would. */
const spare = new SeenStories({ ...other, log: silent });

const emit = createEmit([stories.on ?? {}], () => processes[0] as never);
const never = new AbortController().signal;

async function person({ isPrivate = false } = {}): Promise<string> {
  const id = newId();
  const name = `p${id.replaceAll("-", "").slice(-20)}`;
  const row = { id, username: name, email: `${name}@example.org`, password_hash: "", is_private: isPrivate };
  await db.insertInto("users").values(row).execute();
  return id;
}

async function story(author: string, { lasts = 3_600_000, audience = "everyone" } = {}): Promise<string> {
  const id = newId();
  const medium = newId();
  await sql`INSERT INTO media (id, owner_id, purpose, state, content_type, bytes, sha256)
    VALUES (${medium}, ${author}, 'story', 'processing', 'image/jpeg', 1, sha256(''))`.execute(db);
  await sql`INSERT INTO stories (id, user_id, medium_id, audience, status, published_at, expires_at)
    VALUES (${id}, ${author}, ${medium}, ${audience}, 'published', now(), now() + ${lasts} * interval '1 millisecond')`.execute(
    db,
  );
  return id;
}

/** What a view is answered. */
async function look(by: Views, viewer: string, id: string): Promise<boolean | string> {
  try {
    return (await by.view(viewer, id)).new_view;
  } catch (error) {
    if (error instanceof HttpError) return error.code;
    throw error;
  }
}

async function counted(id: string): Promise<{ count: number; rows: number }> {
  const { rows } = await sql<{ count: number; rows: number }>`
    SELECT view_count AS count, (SELECT count(*)::int FROM story_views WHERE story_id = id) AS rows
    FROM stories WHERE id = ${id}`.execute(db);
  return rows[0] ?? { count: -1, rows: -1 };
}

/** Looks once more, until a look was kept in Redis. */
async function untilSpared(viewer: string, id: string): Promise<void> {
  await waitFor(async () => {
    const asked = spare.ask();
    await spare.keep(asked, await recordViews(other.db, [{ story_id: id, viewer_id: viewer }]));
    return spare.has(viewer, id);
  }, "the view to lie in Redis");
}

/** Makes a change with what is told of it, in one transaction that holds the accounts. */
async function change<Name extends EventName>(
  accounts: readonly string[],
  work: (tx: Tx) => Promise<unknown>,
  name: Name,
  event: Events[Name],
  between = async () => {},
): Promise<void> {
  await inTransaction(db, async (tx) => {
    await sql`SELECT FROM users WHERE id = ANY (${[...accounts]}::uuid[]) ORDER BY id FOR NO KEY UPDATE`.execute(tx);
    await work(tx);
    await emit(tx, name, event);
    await between();
  });
}

t.test("whatever comes at once, each pair is new once, and counted once", async (t) => {
  const author = await person();
  const ids = [await story(author), await story(author), await story(author)];
  const people = await Promise.all(Array.from({ length: 40 }, () => person()));
  const asked = Array.from({ length: 600 }, (_, n) => ({
    by: n % 2 === 0 ? views : others,
    viewer: people[(n * 7) % 37] ?? "",
    id: ids[(n * 5) % 3] ?? "",
  }));
  const news = new Map<string, number>();
  await Promise.all(
    asked.map(async ({ by, viewer, id }) => {
      const isNew = (await by.view(viewer, id)).new_view;
      news.set(`${id} ${viewer}`, (news.get(`${id} ${viewer}`) ?? 0) + (isNew ? 1 : 0));
    }),
  );
  t.equal(news.size, 3 * 37);
  t.ok(
    [...news.values()].every((times) => times === 1),
    "new exactly once",
  );
  for (const id of ids) t.same(await counted(id), { count: 37, rows: 37 });
});

t.test("what may not be is refused alone", async (t) => {
  const [author, viewer, hidden] = [await person(), await person(), await person()];
  await sql`INSERT INTO story_hides (owner_id, hidden_id) VALUES (${author}, ${hidden})`.execute(db);
  const [shown, over] = [await story(author), await story(author, { lasts: -1 })];
  const close = await story(author, { audience: "close_friends" });
  const nobody = newId();
  const answers = await Promise.all([
    look(views, viewer, shown),
    look(views, viewer, over),
    look(views, viewer, newId()),
    look(views, viewer, "a story"),
    look(views, viewer, close),
    look(views, nobody, shown),
    look(views, hidden, shown),
    look(views, author, shown),
  ]);
  const missing = "STORY_NOT_FOUND";
  t.same(answers, [true, missing, missing, missing, missing, missing, missing, false]);
  t.same(await counted(shown), { count: 1, rows: 1 });
});

t.test("a story that is being removed gets no more views", async (t) => {
  const [author, viewer] = [await person(), await person()];
  const id = await story(author);
  let looking: Promise<boolean | string> | undefined;
  await inTransaction(db, async (tx) => {
    await sql`SELECT FROM stories WHERE id = ${id} FOR UPDATE`.execute(tx);
    looking = look(others, viewer, id);
    await waitFor(async () => {
      const { rows } = await sql`SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%WITH asked AS%'`.execute(db);
      return rows.length > 0;
    }, "the view to wait");
    await sql`UPDATE stories SET status = 'removed', medium_id = NULL WHERE id = ${id}`.execute(tx);
  });
  t.equal(await looking, "STORY_NOT_FOUND");
  t.same(await counted(id), { count: 0, rows: 0 });
});

t.test("whoever may not see it any more is answered by no Redis", async (t) => {
  const gone = "STORY_NOT_FOUND";
  const pairOf = async (isPrivate = false, audience = "everyone") => {
    const [author, viewer] = [await person({ isPrivate }), await person()];
    if (isPrivate) await sql`INSERT INTO follows (follower_id, following_id) VALUES (${viewer}, ${author})`.execute(db);
    if (audience === "close_friends") {
      await sql`INSERT INTO close_friends (owner_id, friend_id) VALUES (${author}, ${viewer})`.execute(db);
    }
    const id = await story(author, { audience });
    await untilSpared(viewer, id);
    return { author, viewer, id };
  };
  const ended = async ({ viewer, id }: { viewer: string; id: string }, how: string) => {
    t.notOk(await spare.has(viewer, id), how);
    t.same([await look(views, viewer, id), await look(others, viewer, id)], [gone, gone], how);
  };
  for (const blockedByAuthor of [true, false]) {
    const pair = await pairOf();
    const [blocker_id, blocked_id] = blockedByAuthor ? [pair.author, pair.viewer] : [pair.viewer, pair.author];
    await change(
      [blocker_id, blocked_id],
      (tx) => sql`INSERT INTO blocks (blocker_id, blocked_id) VALUES (${blocker_id}, ${blocked_id})`.execute(tx),
      "account.blocked",
      { blocker_id, blocked_id },
    );
    await ended(pair, "a block");
  }
  const followed = await pairOf(true);
  await change(
    [followed.author, followed.viewer],
    (tx) => sql`DELETE FROM follows WHERE follower_id = ${followed.viewer}`.execute(tx),
    "follow.ended",
    { follower_id: followed.viewer, following_id: followed.author },
  );
  await ended(followed, "an unfollow");
  const hidden = await pairOf();
  await change(
    [hidden.author, hidden.viewer],
    (tx) => sql`INSERT INTO story_hides (owner_id, hidden_id) VALUES (${hidden.author}, ${hidden.viewer})`.execute(tx),
    "story_audience.changed",
    { owner_id: hidden.author, viewer_id: hidden.viewer },
  );
  await ended(hidden, "hidden");
  const close = await pairOf(false, "close_friends");
  await change(
    [close.author, close.viewer],
    (tx) => sql`DELETE FROM close_friends WHERE owner_id = ${close.author}`.execute(tx),
    "story_audience.changed",
    { owner_id: close.author, viewer_id: close.viewer },
  );
  await ended(close, "no close friend any more");
  for (const [name, set] of [
    ["account.went_private", sql`is_private = true`],
    ["account.suspended", sql`state = 'suspended'`],
    ["account.deleting", sql`state = 'deleting'`],
  ] as const) {
    const pair = await pairOf();
    const { author: user_id } = pair;
    await change([user_id], (tx) => sql`UPDATE users SET ${set} WHERE id = ${user_id}`.execute(tx), name, { user_id });
    await ended(pair, name);
  }
  const removed = await pairOf();
  await change(
    [],
    (tx) => sql`UPDATE stories SET status = 'removed', medium_id = NULL WHERE id = ${removed.id}`.execute(tx),
    "story.removed",
    { story_id: removed.id, author_id: removed.author },
  );
  await ended(removed, "removed");
  const open = await pairOf();
  await change([open.author, open.viewer], async () => undefined, "follow.ended", {
    follower_id: open.viewer,
    following_id: open.author,
  });
  t.ok(await spare.has(open.viewer, open.id), "an unfollow of a public account drops nothing");
});

t.test("what was read before a change ends is not kept", async (t) => {
  const [author, viewer] = [await person(), await person()];
  const id = await story(author);
  const asked = spare.ask();
  const before = await recordViews(db, [{ story_id: id, viewer_id: viewer }]);
  await change(
    [author, viewer],
    (tx) => sql`INSERT INTO blocks (blocker_id, blocked_id) VALUES (${author}, ${viewer})`.execute(tx),
    "account.blocked",
    { blocker_id: author, blocked_id: viewer },
    async () => {
      t.equal(await look(others, viewer, id), false, "it is not committed yet");
      await spare.keep(asked, before);
      t.notOk(await spare.has(viewer, id), "while it is under way");
    },
  );
  await spare.keep(asked, before);
  t.notOk(await spare.has(viewer, id), "and afterwards");
  t.equal(await look(views, viewer, id), "STORY_NOT_FOUND");
});

t.test("a removal waits for another change of who may see the author's stories", async (t) => {
  const [author, viewer] = [await person(), await person()];
  const id = await story(author);
  let removing: Promise<void> | undefined;
  await change(
    [author, viewer],
    async () => undefined,
    "account.blocked",
    { blocker_id: author, blocked_id: viewer },
    async () => {
      removing = change([], async () => undefined, "story.removed", { story_id: id, author_id: author });
      await waitFor(async () => {
        const { rows } = await sql`SELECT FROM pg_stat_activity
          WHERE datname = current_database() AND wait_event_type = 'Lock'`.execute(other.db);
        return rows.length > 0;
      }, "the removal to wait");
    },
  );
  await removing;
  t.pass("both are told in the order in which they end");
});

t.test("a story that is over is over, whatever the clock of Redis says", async (t) => {
  const [author, viewer] = [await person(), await person()];
  const id = await story(author, { lasts: 3_000 });
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
  t.equal(await look(views, viewer, id), "STORY_NOT_FOUND");
});

t.test("a Redis that was emptied, hangs or is gone changes no answer", async (t) => {
  const [author, viewer, late] = [await person(), await person(), await person()];
  const id = await story(author);
  await untilSpared(viewer, id);
  await redis.client().flushall();
  t.notOk(await spare.has(viewer, id));
  t.equal(await look(views, viewer, id), false);
  await untilSpared(viewer, id);
  service.pause();
  t.same([await look(views, viewer, id), await look(others, late, id)], [false, true]);
  // Told to nobody: what lies in Redis is void.
  await change(
    [author, viewer],
    (tx) => sql`INSERT INTO blocks (blocker_id, blocked_id) VALUES (${author}, ${viewer})`.execute(tx),
    "account.blocked",
    { blocker_id: author, blocked_id: viewer },
  );
  service.resume();
  await untilSpared(late, id);
  t.equal(await look(others, viewer, id), "STORY_NOT_FOUND");
  t.same(await counted(id), { count: 2, rows: 2 });
});

t.test("who changes something without Redis makes what lies there void", async () => {
  const [author, viewer] = [await person(), await person()];
  const id = await story(author);
  await untilSpared(viewer, id);
  const without = createEmit([stories.on ?? {}], () => ({ ...processes[0], redis: null }) as never);
  await inTransaction(db, (tx) => without(tx, "account.went_private", { user_id: author }));
  await waitFor(async () => !(await spare.has(viewer, id)), "others to hear of it");
});

t.test("Redis keeps so many viewers of a story and no more", async (t) => {
  const [author, viewer] = [await person(), await person()];
  const id = await story(author);
  await untilSpared(viewer, id);
  const [found] = await recordViews(db, [{ story_id: id, viewer_id: viewer }]);
  if (!found) throw new Error("it is there");
  for (let batch = 0; batch < MOST_SEEN / 1_000 + 1; batch++) {
    const many = Array.from({ length: 1_000 }, () => ({ ...found, viewer_id: newId() }));
    await spare.keep(spare.ask(), many);
  }
  t.equal(await redis.client().scard(redis.key("story-seen", id)), MOST_SEEN);
});

t.test("reactions", async (t) => {
  const [author, viewer, second] = [await person(), await person(), await person()];
  const id = await story(author);
  for (const emoji of ["👍", "👍🏽", "❤️", "🏳️‍🌈", "👨‍👩‍👧‍👦", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "1️⃣", "🇫🇷"]) {
    t.same(await views.react(viewer, id, emoji), { reaction: emoji });
  }
  t.same(await views.react(viewer, id, "❤"), { reaction: "❤️" }, "as keyboards send it");
  t.same(await counted(id), { count: 1, rows: 1 }, "who reacts has seen it");
  t.equal(await look(views, viewer, id), false);
  for (const text of ["", " ", "a", "1", "👍👍", "👍 ", "🇫", "nice"]) {
    await t.rejects(views.react(viewer, id, text), { code: "REACTION_INVALID" }, JSON.stringify(text));
  }
  await t.rejects(views.react(author, id, "👍"), { code: "CANNOT_REACT_TO_OWN" });
  await t.rejects(views.react(newId(), id, "👍"), { code: "STORY_NOT_FOUND" });
  t.equal(await look(views, second, id), true);
  const page = () => listViewers(db, author, { storyId: id, limit: 10, after: null });
  t.match((await page()).rows, exactly({ id: second, reaction: null }, { id: viewer, reaction: "❤️" }));
  t.same(await views.unreact(viewer, id), { reaction: null });
  t.same(await views.unreact(viewer, id), { reaction: null }, "again");
  t.match((await page()).rows, exactly({ id: second, reaction: null }, { id: viewer, reaction: null }));
});

t.test("a reaction and a view at once are one view", async (t) => {
  const [author, viewer] = [await person(), await person()];
  const id = await story(author);
  const [isNew] = await Promise.all([views.view(viewer, id), others.react(viewer, id, "🔥")]);
  t.type(isNew.new_view, "boolean");
  t.same(await counted(id), { count: 1, rows: 1 });
});

t.test("counters are verified, and mended while people look on", async (t) => {
  const [author, viewer] = [await person(), await person()];
  const id = await story(author);
  await views.view(viewer, id);
  const wrong: string[] = [];
  const verify = (repair: boolean) =>
    verifyCounters(db, storyCounters, {
      repair,
      signal: never,
      onProgress: () => undefined,
      onWrong: (found) => wrong.push(found.id),
    });
  t.match(await verify(false), exactly({ wrong: 0 }));
  await sql`UPDATE stories SET view_count = 7 WHERE id = ${id}`.execute(db);
  t.match(await verify(true), exactly({ wrong: 1, repaired: 1 }));
  t.same(wrong, [id]);
  t.same(await counted(id), { count: 1, rows: 1 });
});

// Nothing that was put in the background is still under way.
t.teardown(() => delay(50));
