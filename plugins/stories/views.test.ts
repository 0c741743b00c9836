/**
 * Views of stories through two servers, on a real Postgres and Redis. What is counted is held against the rows. What Redis
 * spares is in seen.test.ts.
 */

import { setTimeout as delay } from "node:timers/promises";
import { sql } from "kysely";
import t from "tap";
import { v7 as newId } from "uuid";
import { verifyCounters } from "../../src/counters.ts";
import { inTransaction, type Tx } from "../../src/db/transaction.ts";
import { HttpError } from "../../src/http/errors.ts";
import { testDatabase } from "../../test/support/database.ts";
import { exactly } from "../../test/support/exactly.ts";
import { openContext } from "../../test/support/product/context.ts";
import { block } from "../../test/support/product/graph.ts";
import { endIn, newAccount, publishStory, untilWaiting } from "../../test/support/product/stories.ts";
import { redisService } from "../../test/support/services.ts";
import { storyCounters } from "./counters.ts";
import { storyViews } from "./metrics.ts";
import { removeStory } from "./stories.ts";
import { listViewers } from "./view-store.ts";
import { Views } from "./views.ts";

const { url } = await testDatabase(t);
const service = (await redisService(t)) ?? null;
const context = await openContext(t, url, service);
const other = await openContext(t, url, service);
const { db } = context;
const [views, others] = [new Views(context), new Views(other)];
const never = new AbortController().signal;
const missing = "STORY_NOT_FOUND";

const person = () => newAccount(db);
/** Views that have been told of as new, by both. */
const newViews = async () => (await storyViews.get()).values[0]?.value ?? 0;
const story = (author: string, audience?: string) => publishStory(context, author, audience);

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
  const [shown, over] = [await story(author), await story(author)];
  await endIn(db, over, -1);
  const close = await story(author, "close_friends");
  const answers = await Promise.all([
    look(views, viewer, shown),
    look(views, viewer, over),
    look(views, viewer, newId()),
    look(views, viewer, "a story"),
    look(views, viewer, close),
    look(views, newId(), shown),
    look(views, hidden, shown),
    look(views, author, shown),
  ]);
  t.same(answers, [true, missing, missing, missing, missing, missing, missing, false]);
  t.same(await counted(shown), { count: 1, rows: 1 });
});

t.test("a story that is removed, or over, while a view waits for it gets none", async (t) => {
  const [author, viewer] = [await person(), await person()];
  const [removed, over] = [await story(author), await story(author)];
  const whileHeld = async (id: string, end: (tx: Tx) => Promise<unknown>) => {
    let looking: Promise<boolean | string> | undefined;
    await inTransaction(db, async (tx) => {
      await sql`SELECT FROM stories WHERE id = ${id} FOR UPDATE`.execute(tx);
      looking = look(others, viewer, id);
      await untilWaiting(db, { like: "WITH asked AS" });
      await end(tx);
    });
    t.equal(await looking, missing);
    t.same(await counted(id), { count: 0, rows: 0 });
  };
  await whileHeld(removed, (tx) =>
    sql`UPDATE stories SET status = 'removed', medium_id = NULL WHERE id = ${removed}`.execute(tx),
  );
  await endIn(db, over, 3_000);
  await whileHeld(over, (tx) =>
    sql`SELECT pg_sleep(extract(epoch FROM expires_at - clock_timestamp())) FROM stories WHERE id = ${over}`.execute(
      tx,
    ),
  );
});

t.test("a viewer whose account is held keeps nobody waiting, and is new once", async (t) => {
  const [author, held, viewer] = [await person(), await person(), await person()];
  const id = await story(author);
  const before = await newViews();
  const waiting: Promise<unknown>[] = [];
  await inTransaction(db, async (tx) => {
    await sql`SELECT FROM users WHERE id = ${held} FOR UPDATE`.execute(tx);
    waiting.push(...[views, views, others].map((by) => look(by, held, id)), others.react(held, id, "🔥"));
    await untilWaiting(db, { many: 2, like: "FOR KEY SHARE" });
    t.same([await look(views, viewer, id), await look(others, viewer, id)], [true, false]);
    t.same(await counted(id), { count: 1, rows: 1 });
  });
  t.same((await Promise.all(waiting)).at(-1), { reaction: "🔥" });
  t.same(await counted(id), { count: 2, rows: 2 });
  t.equal(await newViews(), before + 2);
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

t.test("a reaction may be taken back of what is over, or not for one any more", async (t) => {
  const [author, viewer, nobody] = [await person(), await person(), await person()];
  const reactions = async (id: string) => {
    const { rows } = await sql<{ reaction: string }>`SELECT reaction FROM story_views WHERE story_id = ${id}`.execute(
      db,
    );
    return rows.map(({ reaction }) => reaction);
  };
  const [blocked, over, removed] = [await story(author), await story(author), await story(author)];
  for (const id of [blocked, over, removed]) await views.react(viewer, id, "👍");
  await endIn(db, over, -1);
  t.same([await views.unreact(viewer, over), await reactions(over)], [{ reaction: null }, [null]]);
  await t.rejects(views.unreact(nobody, over), { code: missing });
  await block(context, author, viewer);
  t.same([await views.unreact(viewer, blocked), await reactions(blocked)], [{ reaction: null }, [null]]);
  t.same(await views.unreact(nobody, blocked), { reaction: null }, "where there is none");
  await removeStory(context, author, removed);
  await t.rejects(views.unreact(viewer, removed), { code: missing });
});

t.test("a reaction and a view at once are one view", async (t) => {
  const author = await person();
  const id = await story(author);
  const before = await newViews();
  const people = await Promise.all(Array.from({ length: 10 }, person));
  await Promise.all(people.flatMap((viewer) => [views.view(viewer, id), others.react(viewer, id, "🔥")]));
  t.same(await counted(id), { count: 10, rows: 10 });
  t.equal(await newViews(), before + 10, "each new to one of the two");
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
