import { setTimeout as delay } from "node:timers/promises";
import { inspect, isDeepStrictEqual } from "node:util";
import * as fc from "fast-check";
import { sql } from "kysely";
import t from "tap";
import { v7 as newId } from "uuid";
import type { Context } from "../../src/context.ts";
import type { Tx } from "../../src/db/transaction.ts";
import { createEmit, type Emit } from "../../src/events.ts";
import { HttpError } from "../../src/http/errors.ts";
import { testDatabase } from "../../test/support/database.ts";
import { NotificationModel, type ShownNotification } from "../../test/support/notification-model.ts";
import { type Happening, perform, type Step, stepOf } from "../../test/support/notification-steps.ts";
import { openDb } from "../../test/support/product/database.ts";
import { changePreferences, notificationsOf, readNotifications, unreadCount } from "./notifications.ts";
import { notifications } from "./plugin.ts";

const database = await testDatabase(t);
const db = openDb(t, database.url);

const PEOPLE = 4;
/** Who wrote which post. */
const AUTHORS = [0, 1, 1];
/** Milliseconds, more than the likes of one step. */
const TOLD_AFTER = 8;
const RUNS = Number(process.env.TINTYPE_TEST_NOTIFICATION_RUNS ?? 8);

const people = Array.from({ length: PEOPLE }, () => newId());
await db
  .insertInto("users")
  .values(people.map((id, n) => ({ id, username: `user${n}`, email: `${n}@example.org`, password_hash: "" })))
  .execute();

/** Of a context the handlers want no more than `enqueue`. Jobs are not what is tested here: what they do once more has been done at once. */
const emit: Emit = createEmit(
  [notifications.on ?? {}],
  () => ({ enqueue: async () => undefined }) as unknown as Context,
);
const context = { db, emit };

/** The ids of posts and comments of one run, by number. */
interface Ids {
  posts: string[];
  comments: string[];
  /** What the tables of relations hold. */
  written: Map<string, string>;
  /** The notifications that a person has seen last. */
  seen: Map<number, string[]>;
}

async function reset(): Promise<Ids> {
  await sql`TRUNCATE comments, follows, follow_requests, blocks, mutes, notification_inboxes, notification_log, notifications CASCADE`.execute(
    db,
  );
  await sql`DELETE FROM posts`.execute(db);
  await db.updateTable("users").set({ state: "active", is_private: false }).execute();
  const posts = AUTHORS.map(() => newId());
  await sql`INSERT INTO posts (id, user_id, status, published_at)
    SELECT id, author, 'published', now() FROM unnest(${posts}::uuid[], ${AUTHORS.map(person)}::uuid[]) AS made (id, author)`.execute(
    db,
  );
  return { posts, comments: Array.from({ length: 100 }, () => newId()), written: new Map(), seen: new Map() };
}

const person = (n: number) => people[n] ?? "";

/** Writes what makes it true, and tells it, in one transaction. */
async function happen(ids: Ids, model: NotificationModel, happenings: readonly Happening[]): Promise<void> {
  await db.transaction().execute(async (tx) => {
    await writeWorld(tx, ids, model);
    for (const { event, data } of happenings) {
      const entries = Object.entries(data).map(([field, value]) => [field, idsOf(ids, field, value)]);
      await emit(tx, event as never, { ...Object.fromEntries(entries), created_at: new Date() } as never);
    }
  });
}

function idsOf(ids: Ids, field: string, value: unknown): unknown {
  if (Array.isArray(value)) return value.map((one) => idsOf(ids, field, one));
  if (typeof value === "object" && value !== null)
    return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, idsOf(ids, name, one)]));
  if (field === "at") return new Date(Date.now() - TOLD_AFTER + Number(value));
  if (typeof value !== "number") return value;
  if (field === "post_id") return ids.posts[value];
  return field === "comment_id" || field === "comment_ids" || field === "parent_id"
    ? ids.comments[value]
    : person(value);
}

/** Relations and states as they now are. */
async function writeWorld(tx: Tx, ids: Ids, model: NotificationModel): Promise<void> {
  for (const [table, pairs, from, to] of [
    ["follows", model.follows, "follower_id", "following_id"],
    ["follow_requests", model.requests, "follower_id", "following_id"],
    ["blocks", model.blocks, "blocker_id", "blocked_id"],
    ["mutes", model.mutes, "muter_id", "muted_id"],
  ] as const) {
    if ((ids.written.get(table) ?? "") === [...pairs].join()) continue;
    ids.written.set(table, [...pairs].join());
    const ends = [...pairs].map((pair) => pair.split(">").map((n) => person(Number(n))));
    await sql`DELETE FROM ${sql.table(table)}`.execute(tx);
    await sql`INSERT INTO ${sql.table(table)} (${sql.ref(from)}, ${sql.ref(to)})
      SELECT * FROM unnest(${ends.map((pair) => pair[0])}::uuid[], ${ends.map((pair) => pair[1])}::uuid[])`.execute(tx);
  }
  await sql`
    UPDATE users SET state = now.state, is_private = now.is_private
    FROM unnest(${people}::uuid[], ${model.people.map(({ active }) => (active ? "active" : "suspended"))}::text[],
                ${model.people.map(({ isPrivate }) => isPrivate)}::boolean[]) AS now (id, state, is_private)
    WHERE users.id = now.id AND (users.state, users.is_private) <> (now.state, now.is_private)`.execute(tx);
  const gone = ids.posts.filter((_, n) => !model.posts[n]?.there);
  await sql`DELETE FROM posts WHERE id = ANY(${gone}::uuid[])`.execute(tx);
  const comments = model.comments.map(({ author, post, parent }, n) => ({
    ...{ id: ids.comments[n] ?? "", user_id: person(author), post_id: ids.posts[post] ?? "", text: "" },
    ...{ parent_id: parent === null ? null : (ids.comments[parent] ?? ""), entities: sql<never>`'[]'` },
  }));
  for (const comment of comments.slice(Number(ids.written.get("comments") ?? 0)))
    await tx.insertInto("comments").values(comment).execute();
  ids.written.set("comments", `${comments.length}`);
}

async function play(ids: Ids, model: NotificationModel, step: Step): Promise<void> {
  const today = new Date().toISOString().slice(0, 10);
  // What is done at once has no order that a list could show; and likes are told later than they happen.
  await delay(TOLD_AFTER);
  if (step.do === "look") {
    perform(model, step, today);
    await shownTo(ids, step.who, 100);
  } else if (step.do === "read") {
    const chosen = step.place === null ? null : ids.seen.get(step.who)?.[step.place];
    if (chosen === undefined) return;
    try {
      await readNotifications(context, person(step.who), chosen);
    } catch (error) {
      // It is gone, or made anew and another one.
      if (error instanceof HttpError && error.code === "NOTIFICATION_NOT_FOUND") return;
      throw error;
    }
    perform(model, step, today);
  } else if (step.do === "preference") {
    perform(model, step, today);
    await changePreferences(db, person(step.who), { [step.type]: step.on });
  } else {
    await happen(ids, model, perform(model, step, today));
  }
}

/** What the product shows a person, in the model's words, by pages of this size. */
async function shownTo(ids: Ids, who: number, size: number): Promise<ShownNotification[]> {
  const shown: ShownNotification[] = [];
  const seen: string[] = [];
  ids.seen.set(who, seen);
  for (let after = null; ; ) {
    const page = await notificationsOf(context, person(who), { limit: size, after });
    for (const { id, type, actors, actor_count, post_id, comment_id, read } of page) {
      seen.push(id);
      const numberOf = (all: string[], id: string | null) => (id === null ? null : all.indexOf(id));
      shown.push({
        ...{ type, actor_count, read },
        actors: actors.map(({ id }) => people.indexOf(id)),
        post: numberOf(ids.posts, post_id),
        comment: numberOf(ids.comments, comment_id),
      });
    }
    const last = page.at(-1);
    if (page.length < size || !last) return shown;
    after = { at: last.updated_at, id: last.id } as never;
  }
}

async function check(ids: Ids, model: NotificationModel, pages: readonly number[]): Promise<number> {
  let seen = 0;
  for (const who of people.keys()) {
    const expected = model.list(who);
    model.look(who);
    for (const size of pages) {
      const shown = await shownTo(ids, who, size);
      if (!isDeepStrictEqual(shown, expected))
        throw new Error(`person ${who}, pages of ${size}:\n${inspect(shown)}\ninstead of\n${inspect(expected)}`);
    }
    const unread = await unreadCount(context, person(who));
    const wanted = expected.filter(({ read }) => !read).length;
    if (unread !== wanted) throw new Error(`person ${who}: ${unread} unread instead of ${wanted}`);
    seen += expected.length;
  }
  return seen;
}

/** What few random runs come upon. */
const EXAMPLES: Step[][] = [
  // A reply below the comment of somebody who is blocked by one who is mentioned there, and by the author of the post.
  [
    { do: "comment", who: 1, post: 0, parent: null, mentions: [] },
    { do: "block", who: 2, whom: 1 },
    { do: "block", who: 0, whom: 1 },
    { do: "comment", who: 3, post: 0, parent: 0, mentions: [2] },
  ],
  // What is marked as read has moved to the top since it was shown, above one that was not.
  [
    { do: "comment", who: 1, post: 0, parent: null, mentions: [] },
    { do: "look", who: 0 },
    { do: "likes", changes: [{ post: 0, who: 2 }] },
    { do: "comment", who: 1, post: 0, parent: null, mentions: [] },
    { do: "read", who: 0, place: 0 },
  ],
];

t.test("whatever several people do, each is shown what the model says", async (t) => {
  let seen = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(stepOf(PEOPLE, AUTHORS.length), { minLength: 20, maxLength: 40, size: "max" }),
      // How many steps wait in the log before somebody looks.
      fc.constantFrom(1, 3, 12),
      async (steps, pause) => {
        const ids = await reset();
        const model = new NotificationModel(PEOPLE, AUTHORS);
        for (const [n, step] of steps.entries()) {
          await play(ids, model, step);
          if (n % pause === pause - 1) seen += await check(ids, model, [100]);
        }
        await check(ids, model, [100, 2, 1]);
      },
    ),
    { numRuns: RUNS, examples: EXAMPLES.map((steps) => [steps, 12]) },
  );
  t.ok(seen > RUNS, `${seen} notifications were compared`);
});
