import fc from "fast-check";
import { Kysely, PostgresDialect } from "kysely";
import pg from "pg";
import t from "tap";
import { v4 as randomId, v7 as timedId } from "uuid";
import type { Schema } from "../../src/db/schema.ts";
import { decodeCursor, encodeCursor, type Position } from "../../src/http/paging.ts";
import { testDatabase } from "../../test/support/database.ts";
import { feedPage } from "./store.ts";

const database = await testDatabase(t);
const db = new Kysely<Schema>({
  dialect: new PostgresDialect({ pool: new pg.Pool({ connectionString: database.url, max: 2 }) }),
});
// Registered after the database's own teardown, so it runs before it.
t.teardown(() => db.destroy());

type Status = "published" | "processing" | "failed";

interface ModelPost {
  id: string;
  authorId: string;
  status: Status;
  /** Milliseconds of the epoch. */
  at: number;
}

/** One viewer, some accounts and their posts, in memory and in the database. */
class World {
  readonly accounts: string[];
  readonly viewerId: string;
  readonly #follows = new Set<string>();
  readonly #posts = new Map<string, ModelPost>();

  /** Account 0 is the viewer. */
  static async create(accounts: number): Promise<World> {
    const ids = Array.from({ length: accounts }, () => timedId());
    await db
      .insertInto("users")
      .values(
        ids.map((id) => ({
          id,
          username: `u${id.replaceAll("-", "").slice(-28)}`,
          email: `${id}@example.org`,
          password_hash: "none",
          display_name: null,
          bio: null,
        })),
      )
      .execute();
    return new World(ids);
  }

  private constructor(accounts: string[]) {
    this.accounts = accounts;
    this.viewerId = this.account(0);
  }

  account(index: number): string {
    const id = this.accounts[index % this.accounts.length];
    if (id === undefined) throw new Error("a world has accounts");
    return id;
  }

  async follow(accountId: string): Promise<void> {
    if (accountId === this.viewerId || this.#follows.has(accountId)) return;
    this.#follows.add(accountId);
    await db.insertInto("follows").values({ follower_id: this.viewerId, following_id: accountId }).execute();
  }

  async unfollow(accountId: string): Promise<void> {
    this.#follows.delete(accountId);
    await db
      .deleteFrom("follows")
      .where("follower_id", "=", this.viewerId)
      .where("following_id", "=", accountId)
      .execute();
  }

  async post(...posts: Omit<ModelPost, "id">[]): Promise<string[]> {
    // Random ids: the order of ids must decide between equal times, whatever the order of making.
    const added = posts.map((post) => ({ ...post, id: randomId() }));
    for (const post of added) this.#posts.set(post.id, post);
    if (added.length > 0) {
      await db
        .insertInto("posts")
        .values(
          added.map(({ id, authorId, status, at }) => ({
            id,
            user_id: authorId,
            caption: null,
            status,
            failure_code: status === "failed" ? "broken" : null,
            failure_message: null,
            published_at: status === "published" ? new Date(at) : null,
          })),
        )
        .execute();
    }
    return added.map((post) => post.id);
  }

  async remove(postId: string): Promise<void> {
    this.#posts.delete(postId);
    await db.deleteFrom("posts").where("id", "=", postId).execute();
  }

  /** The ids of the whole feed, as the model has it. */
  feed(): string[] {
    return [...this.#posts.values()]
      .filter(({ status, authorId }) => status === "published" && this.#sees(authorId))
      .sort((a, b) => b.at - a.at || (a.id < b.id ? 1 : -1))
      .map((post) => post.id);
  }

  #sees(authorId: string): boolean {
    return authorId === this.viewerId || this.#follows.has(authorId);
  }
}

interface Page {
  ids: string[];
  next: string | null;
}

/** A page as a client gets it: one more row than it shows says that there are more, and the place goes through a cursor. */
async function page(viewerId: string, limit: number, cursor: string | null): Promise<Page> {
  const after: Position | null = cursor === null ? null : decodeCursor(cursor);
  const rows = await feedPage(db, viewerId, { limit: limit + 1, after });
  const shown = rows.slice(0, limit);
  const last = rows.length > limit ? shown.at(-1) : undefined;
  return {
    ids: shown.map((row) => row.id),
    next: last ? encodeCursor({ at: last.published_at, id: last.id }) : null,
  };
}

async function walk(viewerId: string, limit: number, from: string | null = null): Promise<string[]> {
  const ids: string[] = [];
  let cursor = from;
  do {
    const { ids: more, next } = await page(viewerId, limit, cursor);
    ids.push(...more);
    cursor = next;
  } while (cursor !== null);
  return ids;
}

const EPOCH = Date.UTC(2026, 0, 1);
const published = (authorId: string, milliseconds: number) => ({
  authorId,
  status: "published" as const,
  at: EPOCH + milliseconds,
});

t.test("any feed, page by page, is what the model says: nothing lost, repeated or out of order", async (t) => {
  const posts = fc.array(
    fc.record({
      author: fc.nat(7),
      // Few times and many posts: most times are shared, within an author and between them.
      at: fc.nat(5),
      status: fc.oneof(
        { arbitrary: fc.constant<Status>("published"), weight: 8 },
        fc.constantFrom<Status>("processing", "failed"),
      ),
    }),
    { maxLength: 60 },
  );
  const follows = fc.uniqueArray(fc.integer({ min: 1, max: 7 }));
  await fc.assert(
    fc.asyncProperty(posts, follows, fc.integer({ min: 1, max: 9 }), async (posts, follows, limit) => {
      const world = await World.create(8);
      for (const index of follows) await world.follow(world.account(index));
      await world.post(
        ...posts.map(({ author, at, status }) => ({ authorId: world.account(author), at: EPOCH + at, status })),
      );
      t.same(await walk(world.viewerId, limit), world.feed());
    }),
    { numRuns: 60 },
  );
});

t.test("long pages of fewer authors than posts are what the model says", async (t) => {
  const author = fc.oneof(fc.nat(17), fc.nat(1));
  const posts = fc.array(fc.record({ author, at: fc.nat(30) }), { minLength: 60, maxLength: 120 });
  await fc.assert(
    fc.asyncProperty(posts, fc.integer({ min: 26, max: 30 }), async (posts, limit) => {
      const world = await World.create(18);
      for (const account of world.accounts) await world.follow(account);
      await world.post(...posts.map(({ author, at }) => published(world.account(author), at)));
      t.same(await walk(world.viewerId, limit), world.feed());
    }),
    { numRuns: 25 },
  );
});

t.test("one author's old posts fill what the few posts of the others leave of a long page", async (t) => {
  const world = await World.create(16);
  for (const account of world.accounts) await world.follow(account);
  await world.post(...world.accounts.map((account, i) => published(account, 1_000 + i)));
  await world.post(...Array.from({ length: 70 }, (_, i) => published(world.account(1), i)));
  for (const limit of [26, 30]) t.same(await walk(world.viewerId, limit), world.feed(), `limit ${limit}`);
});

t.test("one author fills a page, and many authors share one", async (t) => {
  const world = await World.create(40);
  for (const account of world.accounts) await world.follow(account);
  // The busy one has the latest thirty; below them each of the others has one, then one more.
  await world.post(...Array.from({ length: 30 }, (_, i) => published(world.account(1), 1_000 + i)));
  for (const round of [0, 1]) {
    await world.post(...world.accounts.map((account, i) => published(account, 500 - 100 * round + i)));
  }
  for (const limit of [1, 20, 39, 100]) t.same(await walk(world.viewerId, limit), world.feed(), `limit ${limit}`);
});

t.test("of many authors with posts of one time, the ids decide who is on a page", async (t) => {
  const world = await World.create(12);
  for (const account of world.accounts) await world.follow(account);
  for (const _ of [0, 1]) await world.post(...world.accounts.map((account) => published(account, 7)));
  for (const limit of [1, 2, 5]) t.same(await walk(world.viewerId, limit), world.feed(), `limit ${limit}`);
});

t.test("an author whose latest post is not published takes nobody's place", async (t) => {
  const world = await World.create(12);
  for (const account of world.accounts) await world.follow(account);
  const [waiting, ready] = [world.accounts.slice(0, 6), world.accounts.slice(6)];
  await world.post(
    ...waiting.map((authorId) => ({ authorId, status: "processing" as const, at: EPOCH })),
    ...waiting.map((authorId) => ({ authorId, status: "failed" as const, at: EPOCH })),
    ...waiting.map((authorId, i) => published(authorId, i)),
    ...ready.map((authorId, i) => published(authorId, 100 + i)),
  );
  for (const limit of [1, 2, 5]) t.same(await walk(world.viewerId, limit), world.feed(), `limit ${limit}`);
});

t.test("who follows no one sees their own posts, and only those", async (t) => {
  const world = await World.create(2);
  await world.post(published(world.account(1), 1));
  t.same(await page(world.viewerId, 20, null), { ids: [], next: null });
  const [own] = await world.post(published(world.viewerId, 2));
  t.same(await page(world.viewerId, 20, null), { ids: [own], next: null });
});

t.test("a full last page is the end", async (t) => {
  const world = await World.create(1);
  await world.post(...Array.from({ length: 4 }, (_, i) => published(world.viewerId, i)));
  const first = await page(world.viewerId, 2, null);
  t.not(first.next, null);
  const second = await page(world.viewerId, 2, first.next);
  t.same(second, { ids: world.feed().slice(2), next: null });
});

t.test("what changes between two pages neither repeats nor hides anything below the cursor", async (t) => {
  const world = await World.create(4);
  const [a, b, c] = [world.account(1), world.account(2), world.account(3)];
  await world.follow(a);
  await world.follow(b);
  await world.post(...Array.from({ length: 12 }, (_, i) => published(i % 2 ? a : b, i)), published(c, 3));
  const first = await page(world.viewerId, 4, null);
  const below = world.feed().slice(4);

  await t.test("a new post comes on top and moves nothing", async (t) => {
    const [fresh] = await world.post(published(a, 100));
    t.same(await walk(world.viewerId, 3, first.next), below);
    t.equal((await page(world.viewerId, 1, null)).ids[0], fresh);
  });

  await t.test("the post that the cursor stands on may go", async (t) => {
    await world.remove(first.ids.at(-1) ?? "");
    t.same(await walk(world.viewerId, 3, first.next), below);
  });

  await t.test("follows and unfollows count at once", async (t) => {
    await world.unfollow(a);
    await world.follow(c);
    const expected = world.feed();
    t.same(await walk(world.viewerId, 3), expected);
    const rest = await walk(world.viewerId, 3, first.next);
    t.same(rest, expected.slice(expected.length - rest.length));
    t.ok(rest.length > 0 && rest.length < below.length, "fewer, of those still followed");
  });
});
