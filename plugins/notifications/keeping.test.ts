import { sql } from "kysely";
import t from "tap";
import { v7 as newId } from "uuid";
import type { Context } from "../../src/context.ts";
import { verifyCounters, type WrongCounter } from "../../src/counters.ts";
import { createEmit, type Emit } from "../../src/events.ts";
import { testDatabase } from "../../test/support/database.ts";
import { openDb } from "../../test/support/product/database.ts";
import { spread } from "./backlog.ts";
import { notificationCounters } from "./counters.ts";
import { eraseNotifications } from "./erase.ts";
import { fold, foldAll } from "./fold.ts";
import { notificationsOf, readNotifications, unreadCount } from "./notifications.ts";
import { notifications } from "./plugin.ts";
import { removeGone, sweepNotifications } from "./sweep.ts";

const database = await testDatabase(t);
const db = openDb(t, database.url);
// Of a context the handlers want no more than `enqueue`; the jobs are called by their functions below.
const emit: Emit = createEmit(
  [notifications.on ?? {}],
  () => ({ enqueue: async () => undefined }) as unknown as Context,
);
const context = { db, emit };
const { signal } = new AbortController();
const DAY = 86_400_000;
const ALL = { limit: 100, after: null };

let made = 0;
async function addPeople(count: number): Promise<string[]> {
  const rows = Array.from({ length: count }, () => {
    const name = `user${made++}`;
    return { id: newId(), username: name, email: `${name}@example.org`, password_hash: "" };
  });
  await db.insertInto("users").values(rows).execute();
  return rows.map(({ id }) => id);
}

async function addPost(author: string): Promise<string> {
  const id = newId();
  await sql`INSERT INTO posts (id, user_id, status, published_at) VALUES (${id}, ${author}, 'published', now())`.execute(
    db,
  );
  return id;
}

const tell: <Name extends Parameters<Emit>[1]>(name: Name, event: Parameters<typeof emit<Name>>[2]) => Promise<void> = (
  name,
  event,
) => db.transaction().execute((tx) => emit(tx, name, event));

const like = (post_id: string, author_id: string, people: readonly string[], at = new Date()) =>
  tell("likes.rolled_up", {
    posts: [{ post_id, author_id, liked: people.map((user_id) => ({ user_id, at })), unliked: [] }],
  });

/** @returns its id. */
async function commentBy(author_id: string, { post_id, post_author_id, created_at = new Date() }: CommentOn) {
  const comment_id = newId();
  const event = { comment_id, post_id, post_author_id, author_id, parent_id: null, parent_author_id: null };
  await tell("comment.created", { ...event, created_at });
  return comment_id;
}
interface CommentOn {
  post_id: string;
  post_author_id: string;
  created_at?: Date;
}

async function rowsOf(table: string): Promise<number> {
  const { rows } = await sql<{ count: number }>`SELECT count(*)::integer AS count FROM ${sql.table(table)}`.execute(db);
  return rows[0]?.count ?? -1;
}

async function nothingLeft(): Promise<void> {
  for (const table of ["notification_log", "notifications", "notification_inboxes"]) {
    await sql`DELETE FROM ${sql.table(table)}`.execute(db);
  }
}

t.test("what many do at once is neither lost nor told twice, while others read", async (t) => {
  t.teardown(nothingLeft);
  const [author = "", other = "", ...fans] = await addPeople(62);
  const posts = [await addPost(author), await addPost(other)] as const;
  let done = false;
  const seen: number[] = [];
  const readers = [1, 2].map(async () => {
    while (!done) {
      const [first] = await notificationsOf(context, author, ALL);
      seen.push(first?.actor_count ?? 0);
      await foldAll(db, signal);
    }
  });
  await Promise.all(
    fans.map((fan) =>
      // Both are told of in one transaction, in an order that is not always the same.
      db.transaction().execute(async (tx) => {
        for (const [n, post_id] of Math.random() < 0.5 ? posts.entries() : [...posts.entries()].reverse()) {
          const author_id = n === 0 ? author : other;
          const liked = [{ user_id: fan, at: new Date() }];
          await emit(tx, "likes.rolled_up", { posts: [{ post_id, author_id, liked, unliked: [] }] });
        }
      }),
    ),
  );
  done = true;
  await Promise.all(readers);
  for (const who of [author, other]) {
    const [first, ...others] = await notificationsOf(context, who, ALL);
    t.strictSame([first?.type, first?.actor_count, others.length], ["like", 60, 0]);
    t.equal(await unreadCount(context, who), 1);
  }
  t.ok(seen.length > 0, "somebody read meanwhile");
  t.equal(await rowsOf("notification_log"), 0, "the log is empty");
});

t.test("a fold ends though something happens whenever it has folded", async (t) => {
  t.teardown(nothingLeft);
  const [author = "", fan = ""] = await addPeople(2);
  await notificationsOf(context, author, ALL);
  const logged = sql`INSERT INTO notification_log (user_id, op, type, subject, actor_id)
    VALUES (${sql.lit(author)}, 'add', 'follow', 'a day', ${sql.lit(fan)})`;
  await sql`CREATE FUNCTION follow_again() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ${logged}; RETURN NULL; END $$`.execute(
    db,
  );
  await sql`CREATE TRIGGER again AFTER UPDATE ON notification_inboxes EXECUTE FUNCTION follow_again()`.execute(db);
  t.teardown(() => sql`DROP FUNCTION follow_again CASCADE`.execute(db));
  await logged.execute(db);
  await fold(db, author);
  t.equal(await rowsOf("notification_log"), 1, "what came meanwhile is left to the next");
});

t.test("what a transaction takes back was never told", async (t) => {
  t.teardown(nothingLeft);
  const [author = "", fan = ""] = await addPeople(2);
  const post_id = await addPost(author);
  const failed = db.transaction().execute(async (tx) => {
    const liked = [{ user_id: fan, at: new Date() }];
    await emit(tx, "likes.rolled_up", { posts: [{ post_id, author_id: author, liked, unliked: [] }] });
    throw new Error("taken back");
  });
  await t.rejects(failed, { message: "taken back" });
  t.strictSame(await notificationsOf(context, author, ALL), []);
});

t.test("more than one transaction folds, in one order", async (t) => {
  t.teardown(nothingLeft);
  const [author = "", ...fans] = await addPeople(2_301);
  const post_id = await addPost(author);
  await like(post_id, author, fans.slice(0, 2_000));
  const unliked = fans.slice(0, 1_500);
  await tell("likes.rolled_up", { posts: [{ post_id, author_id: author, liked: [], unliked }] });
  await like(post_id, author, fans.slice(1_000));
  const [first] = await notificationsOf(context, author, ALL);
  t.equal(first?.actor_count, 1_300, "500 who stayed, of those who came again the first 500, and 300");
  t.ok((first?.updated_at.getTime() ?? 0) < Date.now() + 1_000, "it does not run ahead of the clock");

  const comment_id = await commentBy(fans[0] ?? "", { post_id, post_author_id: author });
  await tell("comment.liked", { comment_id, post_id, author_id: author, user_id: fans[1] ?? "" });
  await notificationsOf(context, author, ALL);
  await tell("post.deleted", { post_id, author_id: author, published_at: new Date() });
  t.strictSame([await notificationsOf(context, author, ALL), await unreadCount(context, author)], [[], 0]);
  t.ok((await rowsOf("notification_actors")) > 0, "more than one statement removes are left for the job");
  const last = fans.at(-1) ?? "";
  await db.updateTable("users").set({ state: "suspended" }).where("id", "=", last).execute();
  await tell("account.suspended", { user_id: last });
  await like(await addPost(author), author, fans.slice(0, 2));
  t.equal((await notificationsOf(context, author, ALL)).length, 1, "and are in the way of nothing");
  const silent = { onWrong: () => undefined, onProgress: () => undefined };
  const [verified] = await verifyCounters(db, notificationCounters, { repair: false, signal, ...silent });
  t.equal(verified?.wrong, 0);
  await removeGone(db, signal);
  t.strictSame([await rowsOf("notifications"), await rowsOf("notification_actors")], [1, 2]);
});

t.test("a notification stands where the latest of what is left puts it, whatever the clock says", async (t) => {
  t.teardown(nothingLeft);
  const [author = "", ana = "", ben = ""] = await addPeople(3);
  const [post_id, other] = [await addPost(author), await addPost(author)];
  const on = { post_id, post_author_id: author };
  const shown = async () =>
    (await notificationsOf(context, author, ALL)).map(({ type, comment_id, actors, read }) => [
      ...[type, comment_id, read],
      actors.map(({ id }) => (id === ana ? "ana" : "ben")).join(),
    ]);
  const ago = (ms: number) => new Date(Date.now() - ms);
  await commentBy(ana, { ...on, created_at: ago(4_000) });
  const second = await commentBy(ben, { ...on, created_at: ago(3_000) });
  await readNotifications(context, author, null);
  // Told late, as likes are.
  await like(other, author, [ben], ago(60_000));
  const third = await commentBy(ana, { ...on, created_at: ago(2_000) });
  t.strictSame(await shown(), [
    ["comment", third, false, "ana,ben"],
    ["like", null, false, "ben"],
  ]);
  await tell("comments.deleted", { post_id, comment_ids: [third] });
  t.strictSame(await shown(), [
    ["like", null, false, "ben"],
    ["comment", second, true, "ben,ana"],
  ]);
  t.equal(await unreadCount(context, author), 1);
});

t.test("what is older than 90 days goes, and what has grown since stays with what is younger", async (t) => {
  t.teardown(nothingLeft);
  const [author = "", ...fans] = await addPeople(7);
  const [old, mixed] = [await addPost(author), await addPost(author)];
  const ago = (days: number) => new Date(Date.now() - days * DAY);
  const [ana = "", ben = "", cem = "", dia = ""] = fans;
  await like(old, author, [ana, ben], ago(95));
  await like(mixed, author, [ana, ben], ago(92));
  await commentBy(ana, { post_id: mixed, post_author_id: author, created_at: ago(91) });
  await commentBy(ben, { post_id: mixed, post_author_id: author, created_at: ago(91) });
  await commentBy(ana, { post_id: mixed, post_author_id: author, created_at: ago(2) });
  await like(mixed, author, [cem, dia], ago(1));
  t.equal((await notificationsOf(context, author, ALL)).length, 3);

  t.equal(await sweepNotifications(db, signal), 1, "one person's");
  const shown = (await notificationsOf(context, author, ALL)).map(({ type, post_id, actors, actor_count }) => [
    ...[type, post_id, actor_count],
    actors.map(({ id }) => id).sort(),
  ]);
  t.strictSame(shown, [
    ["like", mixed, 2, [cem, dia].sort()],
    ["comment", mixed, 1, [ana]],
  ]);
  t.equal(await rowsOf("notification_comments"), 1);
  t.equal(await unreadCount(context, author), 2);
  t.equal(await sweepNotifications(db, signal), 0, "whose remains are young is not looked at again");
});

t.test("counters verify finds a number of actors that is wrong, and sets it right", async (t) => {
  t.teardown(nothingLeft);
  const [author = "", ...fans] = await addPeople(4);
  const [post_id, other] = [await addPost(author), await addPost(author)];
  for (const post of [post_id, other]) await like(post, author, fans);
  const list = () => notificationsOf(context, author, ALL);
  const [right, wrong] = await list();
  await sql`UPDATE notifications SET actor_count = 1 WHERE id = ${wrong?.id}`.execute(db);
  const verify = async (repair: boolean) => {
    const found: WrongCounter[] = [];
    const onWrong = (one: WrongCounter) => void found.push(one);
    const [verified] = await verifyCounters(db, notificationCounters, {
      ...{ repair, signal, onWrong },
      onProgress: () => undefined,
    });
    return { found, repaired: verified?.repaired, checked: verified?.checked };
  };
  const found = [{ counter: "notifications.actor_count", id: wrong?.id, kept: 1, actual: 3 }];
  t.strictSame(await verify(false), { found, repaired: 0, checked: 2 });
  t.strictSame(await verify(true), { found, repaired: 1, checked: 2 });
  t.strictSame(await verify(true), { found: [], repaired: 0, checked: 2 });
  t.strictSame(
    (await list()).map(({ id, actor_count }) => [id, actor_count]),
    [
      [right?.id, 3],
      [wrong?.id, 3],
    ],
  );
});

t.test("what concerns very many is told by a job, and is true for whoever looks before", async (t) => {
  t.teardown(nothingLeft);
  const [author = "", actor = "", ...people] = await addPeople(603);
  const post_id = await addPost(author);
  const news = (actor_id: string, of: string | null) =>
    sql`
    INSERT INTO notification_log (user_id, op, type, subject, actor_id, post_id, post_author_id)
    SELECT id, 'add', ${of ? "reply" : "follow"}, gen_random_uuid(), ${actor_id}, ${of}, ${of && author}
    FROM unnest(${people}::uuid[]) AS id`.execute(db);
  const logged = () => rowsOf("notification_log");
  const shownIn = async (list = people) => {
    const { rows } = await sql<{ count: number }>`
      SELECT count(*)::int AS count FROM notifications WHERE actor_count > 0 AND user_id = ANY(${list})`.execute(db);
    return rows[0]?.count;
  };
  for (const [of, event, data, subject] of [
    [null, "account.suspended", { user_id: actor }, { actor_id: actor }],
    [post_id, "post.deleted", { post_id, author_id: author }, { post_id }],
  ] as const) {
    await news(of ? author : actor, of);
    // Some are folded, and some are not.
    for (const one of people.slice(0, 560)) await fold(db, one);
    const before = await logged();
    await db.transaction().execute(async (tx) => {
      if (of === null) await tx.updateTable("users").set({ state: "suspended" }).where("id", "=", actor).execute();
      else await tx.deleteFrom("posts").where("id", "=", of).execute();
      await emit(tx, event, data as never);
    });
    t.ok((await logged()) - before <= 1, "no row for each of them in the transaction of another");
    for (const one of [people[0] ?? "", people.at(-1) ?? ""]) {
      t.strictSame([await notificationsOf(context, one, ALL), await unreadCount(context, one)], [[], 0], event);
    }
    t.equal(await shownIn(people.slice(0, 560)), 559);
    const untold = await logged();
    // The log, its end, and 500 of what is folded.
    let batches = 3;
    const stopped = new AbortController();
    stopped.signal.throwIfAborted = () => {
      if (batches-- === 0) throw new Error("ended");
    };
    await t.rejects(spread(db, subject, stopped.signal), { message: "ended" });
    t.equal(await rowsOf("notification_backlog"), 1, "it is not done");
    t.equal((await logged()) - untold, 540);
    await spread(db, subject, signal);
    t.equal(
      (await logged()) - untold,
      of === null ? 601 : 599,
      "nobody is told twice; whoever looked has the post no more",
    );
    t.equal(await rowsOf("notification_backlog"), 0);
    await foldAll(db, signal);
    t.equal(await shownIn(), 0);
  }
});

t.test("an account that goes takes with it what it was told and what it did", async (t) => {
  t.teardown(nothingLeft);
  const [author = "", gone = "", ...fans] = await addPeople(6);
  const [post_id, own] = [await addPost(author), await addPost(gone)];
  await like(post_id, author, [gone, ...fans]);
  await commentBy(gone, { post_id, post_author_id: author });
  await like(own, gone, [author, ...fans]);
  await notificationsOf(context, author, ALL);
  // Not folded when it goes.
  await tell("follow.requested", { follower_id: gone, following_id: author });
  await like(own, gone, fans);
  await db.updateTable("users").set({ state: "deleting" }).where("id", "=", gone).execute();
  await tell("account.deleting", { user_id: gone });
  const before = await notificationsOf(context, author, ALL);
  t.strictSame(
    before.map(({ type, actor_count }) => [type, actor_count]),
    [["like", 4]],
    "it is not shown from the beginning of the deletion",
  );
  await readNotifications(context, author, null);

  // Goes too, and has notifications without an inbox.
  const [leaving = ""] = await addPeople(1);
  await tell("follow.requested", { follower_id: gone, following_id: leaving });
  await sql`
    WITH told AS (
      INSERT INTO notifications (id, user_id, type, subject, created_at, updated_at, actor_count)
      VALUES (${newId()}, ${leaving}, 'follow', 'once', now(), now(), 1) RETURNING id
    ) INSERT INTO notification_actors SELECT id, ${gone}, now(), true FROM told`.execute(db);
  await db.updateTable("users").set({ state: "deleting" }).where("id", "=", leaving).execute();

  const stopped = new AbortController();
  stopped.abort();
  await t.rejects(eraseNotifications(context, gone, stopped.signal), { name: "AbortError" });
  for (const once of ["once", "again"]) {
    await eraseNotifications(context, gone, signal);
    t.strictSame(
      (await notificationsOf(context, author, ALL)).map(({ actor_count, read }) => [actor_count, read]),
      [[4, true]],
      once,
    );
  }
  const { rows } = await sql<{ rows: number }>`
    SELECT (SELECT count(*) FROM notifications WHERE user_id = ${gone})
      + (SELECT count(*) FROM notification_actors WHERE actor_id = ${gone})
      + (SELECT count(*) FROM notification_log WHERE user_id = ${gone} OR actor_id = ${gone}) AS rows`.execute(db);
  t.same(rows, [{ rows: 0 }]);
  await sql`DELETE FROM posts WHERE user_id = ${gone}`.execute(db);
  await db.deleteFrom("users").where("id", "=", gone).execute();
  // What others still tell of it finds nobody.
  await tell("follow.request_ended", { follower_id: author, following_id: gone });
  await foldAll(db, signal);
  t.equal(await rowsOf("notification_log"), 0);
});
