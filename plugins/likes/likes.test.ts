/**
 * Likes, unlikes, roll-ups and deletions of posts at once. The oracle is a model in memory: what was answered, what is
 * there afterwards and what was told must come of one of the orders in which it may have happened.
 */
import * as fc from "fast-check";
import { sql } from "kysely";
import t from "tap";
import { v7 as newId } from "uuid";
import { inTransaction } from "../../src/db/transaction.ts";
import type { Emit } from "../../src/events.ts";
import { HttpError } from "../../src/http/errors.ts";
import { createNotices } from "../../src/notices.ts";
import { testDatabase } from "../../test/support/database.ts";
import { openDb, silent } from "../../test/support/product/database.ts";
import { openClient } from "../../test/support/product/jobs.ts";
import { waitFor } from "../../test/support/server.ts";
import { hotEngagement } from "../posts/index.ts";
import { Backlog } from "./backlog.ts";
import { eraseLikes } from "./erase.ts";
import { forgetLikes } from "./forget.ts";
import { Likes } from "./likes.ts";
import { type RolledUp, rollUp, rollUpOf } from "./roll-up.ts";
import { likeCounts } from "./store.ts";

const database = await testDatabase(t);
// As two servers have them: each its own connections, and its own queries of counts.
const [db, other] = [openDb(t, database.url), openDb(t, database.url)];

const PEOPLE = 3;
const POSTS = 3;
const people = Array.from({ length: PEOPLE }, () => newId());
const never = new AbortController().signal;

await db
  .insertInto("users")
  .values(people.map((id, n) => ({ id, username: `user${n}`, email: `${n}@example.org`, password_hash: "" })))
  .execute();
// What is told, in the order in which it is told.
await sql`CREATE TABLE told (n serial PRIMARY KEY, post_id uuid, user_id uuid, likes boolean)`.execute(db);

const emit = (async (tx, name, event) => {
  if (name !== "likes.rolled_up") throw new Error(`${name} is not told by likes`);
  for (const { post_id, liked, unliked } of (event as { posts: RolledUp[] }).posts) {
    for (const [ids, likes] of [
      [liked.map(({ user_id }) => user_id), true],
      [unliked, false],
    ] as const) {
      for (const id of ids)
        await sql`INSERT INTO told (post_id, user_id, likes) VALUES (${post_id}, ${id}, ${likes})`.execute(tx);
    }
  }
}) as Emit;
const { notices } = createNotices();
const contexts = [db, other].map((db) => ({ db, emit, enqueue: async () => undefined, log: silent, notices }));
const servers = contexts.map((context) => new Likes(context));
t.teardown(() => Promise.all(servers.map((server) => server.stop())));
const context = contexts[0] as (typeof contexts)[0];

type Operation =
  | { kind: "like" | "unlike"; who: number; post: number; server: number }
  | { kind: "roll up" }
  | { kind: "asked"; who: number }
  | { kind: "delete"; post: number };

const who = fc.nat(PEOPLE - 1);
const post = fc.nat(POSTS - 1);
const change = fc.record({ kind: fc.constantFrom("like" as const, "unlike" as const), who, post, server: fc.nat(1) });
const operation: fc.Arbitrary<Operation> = fc.oneof(
  { arbitrary: change, weight: 12 },
  { arbitrary: fc.record({ kind: fc.constant("roll up" as const) }), weight: 2 },
  { arbitrary: fc.record({ kind: fc.constant("asked" as const), who }), weight: 2 },
  { arbitrary: fc.record({ kind: fc.constant("delete" as const), post }), weight: 1 },
);
/** What happens at once, over and over. */
const rounds = fc.array(fc.array(operation, { minLength: 1, maxLength: 10 }), { minLength: 1, maxLength: 5 });

/** How a like or unlike was answered: whether it changed anything, or that there is no such post. */
type Told = "changed" | "idempotent" | "missing";
type Answered = { likes: boolean; told: Told };

/** Whether somebody likes a post in the end, by each order of what they did at once that answers as it was answered. */
function ends(likes: boolean, answers: readonly Answered[], deleted: { before: boolean; now: boolean }): Set<boolean> {
  const found = new Set<boolean>();
  const go = (state: boolean, gone: boolean, left: readonly Answered[]): void => {
    if (left.length === 0) found.add(state);
    if (deleted.now && !gone) go(state, true, left);
    for (const [index, { likes, told }] of left.entries()) {
      const expected: Told = gone ? "missing" : likes === state ? "idempotent" : "changed";
      if (told === expected) go(gone ? state : likes, gone, left.toSpliced(index, 1));
    }
  };
  go(likes, deleted.before, answers);
  return found;
}

async function perform(operation: Operation, posts: readonly string[]): Promise<Told | null> {
  switch (operation.kind) {
    case "roll up":
      await rollUp(context, never);
      return null;
    case "asked":
      await inTransaction(other, (tx) => rollUpOf(tx, context, people[operation.who] ?? ""));
      return null;
    case "delete":
      await db
        .deleteFrom("posts")
        .where("id", "=", posts[operation.post] ?? "")
        .execute();
      return null;
    default: {
      const { kind, who, post, server } = operation;
      try {
        const answer = await (servers[server] as Likes)[kind](people[who] ?? "", posts[post] ?? "");
        return answer.idempotent ? "idempotent" : "changed";
      } catch (error) {
        if (error instanceof HttpError && error.code === "POST_NOT_FOUND") return "missing";
        throw error;
      }
    }
  }
}

t.test("whatever happens at once, happened in some order, and is counted and told as it happened", async () => {
  const property = fc.asyncProperty(rounds, async (rounds) => {
    await sql`TRUNCATE likes, like_log, like_counts, told`.execute(db);
    await sql`DELETE FROM posts`.execute(db);
    const posts = Array.from({ length: POSTS }, () => newId());
    for (const [index, id] of posts.entries()) {
      const row = { id, user_id: people[index % PEOPLE] ?? "", status: "published" as const, published_at: new Date() };
      await db.insertInto("posts").values(row).execute();
    }
    const model = new Set<string>();
    const gone = new Set<number>();
    for (const round of rounds) {
      const told = await Promise.all(round.map((operation) => perform(operation, posts)));
      const deleted = new Set(round.flatMap((operation) => (operation.kind === "delete" ? [operation.post] : [])));
      const { rows } = await sql<{ pair: string }>`SELECT post_id || ' ' || user_id AS pair FROM likes`.execute(db);
      const stored = new Set(rows.map(({ pair }) => pair));
      for (const [post, id] of posts.entries()) {
        for (const [who, person] of people.entries()) {
          const pair = `${id} ${person}`;
          const answers = round.flatMap((operation, index) =>
            "server" in operation && operation.who === who && operation.post === post
              ? [{ likes: operation.kind === "like", told: told[index] as Told }]
              : [],
          );
          const possible = ends(model.has(pair), answers, { before: gone.has(post), now: deleted.has(post) });
          const is = stored.has(pair);
          if (!possible.has(is)) throw new Error(`${pair} is ${is} after ${JSON.stringify(answers)}`);
          if (is) model.add(pair);
          else model.delete(pair);
        }
      }
      for (const post of deleted) gone.add(post);
      const counts = await likeCounts(db, posts);
      for (const [post, id] of posts.entries()) {
        const expected = [...model].filter((pair) => pair.startsWith(id)).length;
        if (!gone.has(post) && counts.get(id) !== expected) throw new Error(`${counts.get(id)} likes, not ${expected}`);
      }
    }
    await rollUp(context, never);
    const heard = new Set<string>();
    const { rows } = await sql<{ pair: string; likes: boolean }>`
      SELECT post_id || ' ' || user_id AS pair, likes FROM told ORDER BY n`.execute(db);
    for (const { pair, likes } of rows) {
      if (heard.has(pair) === likes) throw new Error(`${pair} was told twice`);
      if (likes) heard.add(pair);
      else heard.delete(pair);
    }
    for (const [post, id] of posts.entries()) {
      if (gone.has(post)) {
        await forgetLikes(db, { post_id: id, author_id: people[post % PEOPLE] ?? "" }, never);
        continue;
      }
      for (const person of people) {
        const pair = `${id} ${person}`;
        if (heard.has(pair) !== model.has(pair)) throw new Error(`${pair}: told ${heard.has(pair)}`);
      }
    }
    const left = await sql<{ left: number }>`
      SELECT ((SELECT count(*) FROM likes WHERE post_id NOT IN (SELECT id FROM posts))
        + (SELECT count(*) FROM like_counts WHERE post_id NOT IN (SELECT id FROM posts))
        + (SELECT count(*) FROM like_log))::int AS left`.execute(db);
    if (left.rows[0]?.left !== 0) throw new Error(`${left.rows[0]?.left} rows are left`);
  });
  await fc.assert(property, { numRuns: 40 });
});

t.test("a roll-up of one author's posts waits for that of all, and sees what was added meanwhile", async (t) => {
  await sql`TRUNCATE likes, like_log, like_counts, told`.execute(db);
  const [author = "", fan = ""] = people;
  const id = newId();
  await db.insertInto("posts").values({ id, user_id: author, status: "published", published_at: new Date() }).execute();
  await servers[0]?.like(fan, id);
  const { promise: held, resolve: go } = Promise.withResolvers<void>();
  const { promise: begun, resolve: begins } = Promise.withResolvers<void>();
  const slow = {
    db,
    emit: (async (...told) => {
      begins();
      await held;
      return emit(...told);
    }) as Emit,
  };
  const all = rollUp(slow, never);
  await begun;
  await servers[1]?.unlike(fan, id);
  const asked = inTransaction(other, (tx) => rollUpOf(tx, context, author));
  const waits = async () =>
    (await sql`SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`.execute(db)).rows.length > 0;
  await waitFor(waits, "the second to wait").finally(go);
  await Promise.all([all, asked]);
  const { rows } = await sql<{ likes: boolean }>`SELECT likes FROM told ORDER BY n`.execute(db);
  t.strictSame(rows, [{ likes: true }, { likes: false }]);
  t.strictSame(await likeCounts(db, [id]), new Map([[id, 0]]));
});

t.test("a roll-up tells of all posts at once, whoever waits for it", async (t) => {
  await sql`TRUNCATE likes, like_log, like_counts, told`.execute(db);
  const posts = Array.from({ length: 20 }, () => newId());
  await db
    .insertInto("posts")
    .values(
      posts.map((id) => ({ id, user_id: people[0] ?? "", status: "published" as const, published_at: new Date() })),
    )
    .execute();
  for (const id of posts) await servers[0]?.like(people[1] ?? "", id);
  const told: number[] = [];
  const counting = (async (_tx, _name, event) => void told.push((event as { posts: RolledUp[] }).posts.length)) as Emit;
  await rollUp({ db, emit: counting }, never);
  t.strictSame(told, [posts.length]);
});

t.test("whoever appends takes a turn when the log has grown too long", async (t) => {
  await sql`TRUNCATE likes, like_log, like_counts, told`.execute(db);
  const [author = "", ...fans] = people;
  const id = newId();
  await db.insertInto("posts").values({ id, user_id: author, status: "published", published_at: new Date() }).execute();
  const backlog = new Backlog(context, { bound: 1 });
  t.teardown(() => backlog.stop());
  for (const fan of fans) await servers[0]?.like(fan, id);
  backlog.appended();
  const left = async () =>
    (await sql<{ left: number }>`SELECT count(*)::int AS left FROM like_log`.execute(db)).rows[0]?.left;
  await waitFor(async () => (await left()) === 0, "the log to be rolled up");
  t.strictSame(await likeCounts(db, [id]), new Map([[id, fans.length]]));
});

t.test("all likes of an account go with it, in several transactions", async (t) => {
  await sql`TRUNCATE likes, like_log, like_counts, told`.execute(db);
  const [author = "", goes = "", stays = ""] = people;
  const MANY = 1_100;
  const posts = Array.from({ length: MANY }, () => newId());
  await sql`
    INSERT INTO posts (id, user_id, status, published_at)
    SELECT id, ${author}, 'published', now() FROM unnest(${posts}::uuid[]) AS made (id)`.execute(db);
  for (const who of [goes, stays]) {
    await sql`INSERT INTO likes (user_id, post_id) SELECT ${who}, unnest(${posts}::uuid[])`.execute(db);
  }
  await sql`INSERT INTO like_counts (post_id, like_count) SELECT unnest(${posts}::uuid[]), 2`.execute(db);
  await eraseLikes(context, goes, never);
  const { rows } = await sql`SELECT user_id, count(*)::int AS likes FROM likes GROUP BY user_id`.execute(db);
  t.strictSame(rows, [{ user_id: stays, likes: MANY }]);
  t.strictSame(new Set((await likeCounts(db, posts)).values()), new Set([1]));
});

t.test("one's own like is in the next feed, also where counts were being read when it was made", async (t) => {
  const [author = "", fan = ""] = people;
  const id = newId();
  await db.insertInto("posts").values({ id, user_id: author, status: "published", published_at: new Date() }).execute();
  const { promise: held, resolve: go } = Promise.withResolvers<void>();
  const { promise: answered, resolve: answers } = Promise.withResolvers<void>();
  // Answers of Postgres on their way.
  const slow = db.withPlugin({
    transformQuery: ({ node }) => node,
    async transformResult({ result }) {
      answers();
      await held;
      return result;
    },
  });
  const { notices } = createNotices();
  const feed = hotEngagement({ db: slow, notices });
  const likes = async () => (await feed.of(fan, [id])).get(id)?.like_count;
  const before = likes();
  await answered;
  const server = new Likes({ ...context, notices });
  t.teardown(() => server.stop());
  await server.like(fan, id);
  go();
  t.equal(await before, 0);
  t.equal(await likes(), 1);
});

t.test("no like waits for long for a roll-up that hangs, or fails by one that fails", async (t) => {
  await sql`TRUNCATE likes, like_log, like_counts, told`.execute(db);
  const [author = "", ...fans] = people;
  const id = newId();
  await db.insertInto("posts").values({ id, user_id: author, status: "published", published_at: new Date() }).execute();
  for (const fan of fans) await servers[0]?.like(fan, id);
  const { promise: held, resolve: go } = Promise.withResolvers<void>();
  const { promise: begun, resolve: begins } = Promise.withResolvers<void>();
  const hangs = (async () => {
    begins();
    await held;
    throw new Error("no luck");
  }) as Emit;
  const backlog = new Backlog({ ...context, emit: hangs }, { bound: 1, patience: 20 });
  backlog.appended();
  await begun;
  await backlog.room();
  go();
  await t.resolves(backlog.stop());
  await t.resolves(backlog.room());
  t.strictSame(await likeCounts(db, [id]), new Map([[id, fans.length]]), "nothing is lost");
});

t.test("likes are refused while the log is far too long, also while a roll-up hangs", async (t) => {
  await sql`TRUNCATE likes, like_log, like_counts, told`.execute(db);
  const [author = "", fan = ""] = people;
  const id = newId();
  await db.insertInto("posts").values({ id, user_id: author, status: "published", published_at: new Date() }).execute();
  const append = (rows: number) =>
    sql`INSERT INTO like_log (post_id, author_id, user_id, delta)
      SELECT ${id}, ${author}, ${fan}, 1 FROM generate_series(1, ${rows}::int)`.execute(db);
  const { promise: held, resolve: go } = Promise.withResolvers<void>();
  const { promise: begun, resolve: begins } = Promise.withResolvers<void>();
  const hangs = (async () => {
    begins();
    await held;
  }) as Emit;
  const backlog = new Backlog({ ...context, emit: hangs }, { bound: 2, patience: 20 });
  t.teardown(() => backlog.stop());
  t.teardown(go);
  const full = async () => (await backlog.room().catch((error: unknown) => error)) !== undefined;
  await append(3);
  backlog.appended();
  await begun;
  t.equal(await full(), false);
  await append(5);
  backlog.appended();
  await waitFor(full, "likes to be refused");
  await t.rejects(backlog.room(), { status: 503, code: "TOO_BUSY" });
  go();
  await waitFor(async () => !(await full()), "likes to be taken again, though none came");
});

t.test("however many servers append, one roll-up waits", async (t) => {
  const { enqueue } = await openClient(t, database.url);
  const append = async () => {
    const backlogs = contexts.map((context) => new Backlog({ ...context, enqueue }));
    for (const backlog of backlogs) backlog.appended();
    await Promise.all(backlogs.map((backlog) => backlog.stop()));
  };
  const states = async () =>
    (
      await sql<{ state: string }>`
        SELECT state::text FROM pgboss.job WHERE name = 'likes.roll_up' ORDER BY state`.execute(db)
    ).rows.map(({ state }) => state);
  for (let times = 0; times < 2; times++) await append();
  t.strictSame(await states(), ["created"]);
  await sql`UPDATE pgboss.job SET state = 'active' WHERE name = 'likes.roll_up'`.execute(db);
  for (let times = 0; times < 2; times++) await append();
  t.strictSame(await states(), ["active", "created"], "what is being done may have begun before");
});
