import * as fc from "fast-check";
import { sql } from "kysely";
import t from "tap";
import { v7 as newId } from "uuid";
import { testDatabase } from "../../test/support/database.ts";
import { openDb } from "../../test/support/product/database.ts";
import { isInFeed, isKnown, isListed, isSeen, viewerSnapshot } from "./snapshot.ts";
import { feedAuthors, isStoryFor, mayBeKnownTo, mayBeListedFor, mayBeSeenBy } from "./visibility.ts";

const database = await testDatabase(t);
const db = openDb(t, database.url);

const PEOPLE = 4;
const ids = Array.from({ length: PEOPLE }, () => newId());
const idOf = (index: number) => ids[index] ?? "";

await db
  .insertInto("users")
  .values(ids.map((id, index) => ({ id, username: `user${index}`, email: `${index}@example.org`, password_hash: "" })))
  .execute();

interface World {
  people: Array<{ state: "active" | "suspended" | "deleting"; is_private: boolean }>;
  follows: Array<[number, number]>;
  blocks: Array<[number, number]>;
  mutes: Array<[number, number]>;
  /** Whose close friends are whom, and from whom somebody hides stories. */
  closeFriends: Array<[number, number]>;
  hides: Array<[number, number]>;
}

const pair = fc.tuple(fc.nat(PEOPLE - 1), fc.nat(PEOPLE - 1)).filter(([from, to]) => from !== to);
const pairs = (maxLength: number) =>
  fc.uniqueArray(pair, { maxLength, selector: ([from, to]) => from * PEOPLE + to }) as fc.Arbitrary<[number, number][]>;
const world: fc.Arbitrary<World> = fc.record({
  people: fc.array(
    fc.record({
      state: fc.constantFrom("active" as const, "active" as const, "suspended" as const, "deleting" as const),
      is_private: fc.boolean(),
    }),
    { minLength: PEOPLE, maxLength: PEOPLE },
  ),
  follows: pairs(8),
  blocks: pairs(3),
  mutes: pairs(4),
  closeFriends: pairs(6),
  hides: pairs(4),
});

async function make({ people, follows, blocks, mutes, closeFriends, hides }: World): Promise<void> {
  await sql`TRUNCATE follows, blocks, mutes, close_friends, story_hides`.execute(db);
  for (const [index, person] of people.entries()) {
    await db.updateTable("users").set(person).where("id", "=", idOf(index)).execute();
  }
  const rowsOf = (relation: Array<[number, number]>, from: string, to: string) =>
    relation.map((one) => ({ [from]: idOf(one[0]), [to]: idOf(one[1]) }));
  for (const [table, rows] of [
    ["follows", rowsOf(follows, "follower_id", "following_id")],
    ["blocks", rowsOf(blocks, "blocker_id", "blocked_id")],
    ["mutes", rowsOf(mutes, "muter_id", "muted_id")],
    ["close_friends", rowsOf(closeFriends, "owner_id", "friend_id")],
    ["story_hides", rowsOf(hides, "owner_id", "hidden_id")],
  ] as const) {
    if (rows.length > 0)
      await sql`INSERT INTO ${sql.table(table)} (${sql.join(Object.keys(rows[0] ?? {}).map((name) => sql.ref(name)))})
      VALUES ${sql.join(rows.map((row) => sql`(${sql.join(Object.values(row))})`))}`.execute(db);
  }
}

async function idsWhere(condition: ReturnType<typeof mayBeSeenBy>): Promise<string[]> {
  const rows = await db.selectFrom("users").select("id").where(condition).orderBy("id").execute();
  return rows.map((row) => row.id);
}

/** The authors of stories that are for the viewer, by audience. */
async function storiesFor(viewerId: string): Promise<Record<"everyone" | "close_friends", string[]>> {
  const { rows } = await sql<{ id: string; audience: string }>`
    SELECT users.id, stories.audience FROM users
    CROSS JOIN (VALUES ('everyone'), ('close_friends')) AS stories (audience)
    WHERE ${isStoryFor(viewerId)} ORDER BY users.id`.execute(db);
  const of = (audience: string) => rows.filter((row) => row.audience === audience).map(({ id }) => id);
  return { everyone: of("everyone"), close_friends: of("close_friends") };
}

t.test("the feed's authors are found by index, however many accounts are suspended", async (t) => {
  await sql`INSERT INTO users (id, username, email, password_hash, state)
    SELECT gen_random_uuid(), 'spam' || n, n || '@spam.example', '', 'suspended' FROM generate_series(1, 5000) AS n`.execute(
    db,
  );
  await sql`ANALYZE users`.execute(db);
  const plan = await db.transaction().execute(async (tx) => {
    // As little as 5,000 ids do not fit into, which stands for 300,000 and the usual 4 MB.
    await sql`SET LOCAL work_mem = '64kB'`.execute(tx);
    return (await sql<Record<string, string>>`EXPLAIN ${feedAuthors(idOf(0))}`.execute(tx)).rows;
  });
  t.notMatch(JSON.stringify(plan), /SubPlan/, "none is looked for among all of them");
  await sql`DELETE FROM users WHERE state = 'suspended'`.execute(db);
});

t.test("the rule, told in three ways", async (t) => {
  let hidden = 0;
  /** Authors of whom the viewer sees some stories and not others. */
  let unlike = 0;
  await fc.assert(
    fc.asyncProperty(world, fc.nat(PEOPLE - 1), async (given, viewer) => {
      // A block has ended the follows between the two; the feed relies on it.
      const apart = ([from, to]: [number, number]) =>
        given.blocks.some(([one, other]) => (one === from && other === to) || (one === to && other === from));
      const follows = given.follows.filter((follow) => !apart(follow));
      await make({ ...given, follows });

      const has = (relation: Array<[number, number]>, from: number, to: number) =>
        relation.some(([one, other]) => one === from && other === to);
      const everyone = ids.map((_, index) => index);
      const known = everyone.filter(
        (owner) => given.people[owner]?.state === "active" && !has(given.blocks, owner, viewer),
      );
      const listed = known.filter((owner) => !has(given.blocks, viewer, owner));
      const seen = listed.filter(
        (owner) => !given.people[owner]?.is_private || owner === viewer || has(follows, viewer, owner),
      );
      const open = everyone.filter(
        (owner) => given.people[owner]?.state === "active" && !given.people[owner]?.is_private,
      );
      const inFeed = seen.filter(
        (owner) => owner === viewer || (has(follows, viewer, owner) && !has(given.mutes, viewer, owner)),
      );
      const stories = seen.filter((owner) => owner === viewer || !has(given.hides, owner, viewer));
      const closeStories = stories.filter((owner) => owner === viewer || has(given.closeFriends, owner, viewer));
      hidden += PEOPLE - seen.length;
      unlike += stories.length - closeStories.length;

      const expected = { known, listed, seen, open, stories, closeStories };
      const byAudience = await storiesFor(idOf(viewer));
      const bySql = {
        known: await idsWhere(mayBeKnownTo(idOf(viewer))),
        listed: await idsWhere(mayBeListedFor(idOf(viewer))),
        seen: await idsWhere(mayBeSeenBy(idOf(viewer))),
        open: await idsWhere(mayBeSeenBy(null)),
        stories: byAudience.everyone,
        closeStories: byAudience.close_friends,
      };
      for (const [name, indexes] of Object.entries(expected)) {
        const told = bySql[name as keyof typeof bySql];
        if (told.join() !== indexes.map(idOf).join()) throw new Error(`SQL, ${name}: ${told} instead of ${indexes}`);
      }
      const { rows } = await feedAuthors(idOf(viewer)).execute(db);
      // A viewer that has vanished asks for nothing: its token is refused.
      const authors = rows.map(({ id }) => id).filter((id) => id !== idOf(viewer));
      const wanted = inFeed.filter((owner) => owner !== viewer).map(idOf);
      if (authors.sort().join() !== wanted.sort().join()) throw new Error(`SQL, feed: ${authors}`);

      const snapshot = await viewerSnapshot(db, idOf(viewer));
      for (const owner of everyone) {
        const person = given.people[owner];
        if (!person) continue;
        const account = { id: idOf(owner), ...person };
        const told = [isKnown, isListed, isSeen, isInFeed].map((rule) => rule(snapshot, account));
        const right = [known, listed, seen, inFeed].map((set) => set.includes(owner));
        if (told.join() !== right.join()) throw new Error(`snapshot, of ${owner}: ${told} instead of ${right}`);
      }
    }),
    { numRuns: 150 },
  );
  t.ok(hidden > 100, "much was hidden");
  t.ok(unlike > 50, "close friends made a difference");
});
