import { sql } from "kysely";
import t from "tap";
import type { Context } from "../../src/context.ts";
import { inTransaction, type Tx } from "../../src/db/transaction.ts";
import { testDatabase } from "../../test/support/database.ts";
import { openContext } from "../../test/support/product/context.ts";
import {
  betweenTwo,
  newAccount,
  publishStory,
  seeStory,
  startFollow,
  uploadStory,
} from "../../test/support/product/stories.ts";
import { waitFor } from "../../test/support/server.ts";
import { redisService } from "../../test/support/services.ts";
import { lockAccounts } from "../accounts/index.ts";
import { removeStory } from "./stories.ts";
import { Trays } from "./tray.ts";
import { MOST_AUTHORS, readTray, type TrayEntry } from "./tray-store.ts";

const service = await redisService(t, { own: true });
if (!service) process.exit();
const database = await testDatabase(t);

/** One server: its trays, and how often they were read from Postgres. */
async function server(redis: typeof service | null) {
  const context = await openContext(t, database.url, redis ?? null);
  const counted = { reads: 0 };
  const bulkhead: Context["bulkhead"] = {
    close: () => context.bulkhead.close(),
    run: (work) => {
      counted.reads++;
      return context.bulkhead.run(work);
    },
  };
  return { context, counted, trays: new Trays({ redis: context.redis, log: context.log, bulkhead }) };
}
const one = await server(service);
const other = await server(service);
const { context } = one;
const { db } = context;

const account = (fields?: { is_private: boolean }) => newAccount(db, fields);
const publish = (author: string, audience?: string) => publishStory(context, author, audience);

const between = (first: string, second: string, work: (tx: Tx) => Promise<unknown>) =>
  betweenTwo(db, [first, second], work);
const follow = (follower: string, followed: string) => startFollow(context, follower, followed);

async function unfollow(tx: Tx, follower_id: string, following_id: string): Promise<void> {
  await sql`DELETE FROM follows WHERE follower_id = ${follower_id} AND following_id = ${following_id}`.execute(tx);
  await context.emit(tx, "follow.ended", { follower_id, following_id });
}

async function following(...authors: string[]): Promise<string> {
  const viewer = await account();
  for (const author of authors) await follow(viewer, author);
  return viewer;
}

/** Moves the time of a story, by which it may also be over. @param age seconds. */
async function ageBy(story: string, age: number): Promise<void> {
  await sql`UPDATE stories SET published_at = published_at - ${age} * interval '1 second',
    expires_at = expires_at - ${age} * interval '1 second' WHERE id = ${story}`.execute(db);
}

const told = (entries: readonly TrayEntry[]) =>
  entries.map(({ user, has_unseen, count }) => [user.id, has_unseen, count]);
const trayOf = async (viewer: string, { trays } = other) => told(await trays.of(viewer));

/** Reads the tray until it lies in Redis: a read of a moment ago may have come before the last change ended. */
async function warm(viewer: string): Promise<unknown[]> {
  return waitFor(async () => {
    await other.trays.of(viewer);
    const before = other.counted.reads;
    const tray = await trayOf(viewer);
    return other.counted.reads === before && tray;
  }, "the tray to be kept");
}

t.test("oneself, then unseen, then the latest, each with its stories for the viewer", async (t) => {
  const [early, late, seen, muted, hiding, gone, over, stranger, waiting, friend, closed] = (await Promise.all(
    Array.from({ length: 11 }, () => account()),
  )) as [string, string, string, string, string, string, string, string, string, string, string];
  const locked = await account({ is_private: true });
  const viewer = await following(early, late, seen, muted, hiding, gone, over, waiting, friend, closed, locked);
  const stories: string[] = [];
  for (const author of [seen, early, early, late, muted, hiding, gone, over, stranger, locked]) {
    stories.push(await publish(author));
  }
  stories.push(await publish(friend, "close_friends"), await publish(friend), await publish(closed, "close_friends"));
  await uploadStory(db, waiting, "everyone");
  t.strictSame(await readTray(db, stranger).then(({ entries }) => told(entries)), [[stranger, false, 1]]);
  for (const [index, story] of stories.entries()) await ageBy(story, 1_000 - index);
  await ageBy(stories[7] ?? "", 86_400);
  await ageBy(stories[0] ?? "", -500);
  await sql`INSERT INTO story_views (story_id, viewer_id) VALUES (${stories[0]}, ${viewer}), (${stories[1]}, ${viewer})`.execute(
    db,
  );
  await sql`INSERT INTO mutes (muter_id, muted_id) VALUES (${viewer}, ${muted})`.execute(db);
  await sql`INSERT INTO story_hides (owner_id, hidden_id) VALUES (${hiding}, ${viewer})`.execute(db);
  await sql`INSERT INTO close_friends (owner_id, friend_id) VALUES (${friend}, ${viewer})`.execute(db);
  await sql`UPDATE users SET state = 'suspended' WHERE id = ${gone}`.execute(db);
  const wanted = [
    [friend, true, 2],
    [locked, true, 1],
    [late, true, 1],
    [early, true, 2],
    [seen, false, 1],
  ];
  const { entries, over_in } = await readTray(db, viewer);
  t.strictSame(told(entries), wanted);
  const { rows } = await sql<{ at: Date }>`SELECT published_at AS at FROM stories WHERE id = ${stories[11]}`.execute(
    db,
  );
  t.equal(Date.parse(entries[0]?.latest_story_at ?? ""), rows[0]?.at.getTime());
  t.ok(over_in !== null && over_in < 86_400_000);
  const mine = await publish(viewer, "close_friends");
  await ageBy(mine, 2_000);
  t.strictSame(await readTray(db, viewer).then((read) => told(read.entries)), [[viewer, false, 1], ...wanted]);
});

t.test("between equals the higher id, and no more than so many", async (t) => {
  const viewer = await account();
  await sql`WITH authors AS (
      INSERT INTO users (id, username, email, password_hash)
      SELECT id, 'many' || n, 'm' || n || '@example.org', '' FROM (
        SELECT uuidv7() AS id, n FROM generate_series(1, ${MOST_AUTHORS + 1}) AS n) AS made RETURNING id
    ), follow AS (
      INSERT INTO follows (follower_id, following_id) SELECT ${viewer}::uuid, id FROM authors
    ), media AS (
      INSERT INTO media (id, owner_id, purpose, state, content_type, bytes, sha256, width, height, thumbhash)
      SELECT uuidv7(), id, 'story', 'ready', 'image/jpeg', 1, '', 1, 1, '' FROM authors RETURNING id, owner_id
    ) INSERT INTO stories (id, user_id, medium_id, audience, status, published_at, expires_at)
      SELECT id, owner_id, id, 'everyone', 'published', now(), now() + interval '1 day' FROM media`.execute(db);
  await publish(viewer);
  const { entries } = await readTray(db, viewer);
  const ids = entries.map(({ user }) => user.id);
  t.equal(ids.length, MOST_AUTHORS);
  t.equal(ids[0], viewer);
  t.strictSame(ids.slice(1), ids.slice(1).sort().reverse());
});

t.test("many requests of one viewer ask Postgres once, and it is kept for a second at most", async (t) => {
  const viewer = await following(await account());
  await warm(viewer);
  await context.redis?.client().del(context.redis.key("tray", viewer));
  const before = other.counted.reads;
  await Promise.all(Array.from({ length: 50 }, () => other.trays.of(viewer)));
  t.equal(other.counted.reads - before, 1);
  await other.trays.of(viewer);
  const left = await context.redis?.client().pttl(context.redis.key("tray", viewer));
  t.ok(left !== undefined && left <= 1_000, `${left} ms`);
  const bare = await server(null);
  await Promise.all(Array.from({ length: 50 }, () => bare.trays.of(viewer)));
  t.equal(bare.counted.reads, 2, "the first, and one for those who came during it");
});

t.test("what must show at once does, whatever was kept, on another server", async (t) => {
  const [author, quiet] = [await account(), await account()];
  const [story, second] = [await publish(author), await publish(author)];
  const viewer = await following(author);
  const both = [author, true, 2];
  const change = async (
    name: string,
    [make, then]: readonly [work: (tx: Tx) => Promise<unknown>, wanted: unknown[]],
    [back, again]: readonly [work: (tx: Tx) => Promise<unknown>, wanted: unknown[]] = [async () => {}, then],
  ) => {
    await warm(viewer);
    await between(author, viewer, make);
    t.strictSame(await trayOf(viewer), then, name);
    await warm(viewer);
    await between(author, viewer, back);
    t.strictSame(await trayOf(viewer), again, `${name}, taken back`);
  };
  const audienceChanged = (tx: Tx) =>
    context.emit(tx, "story_audience.changed", { owner_id: author, viewer_id: viewer });
  const pair = { muter_id: viewer, muted_id: author };
  await change(
    "mute",
    [
      async (tx) => {
        await tx.insertInto("mutes").values(pair).execute();
        await context.emit(tx, "account.muted", pair);
      },
      [],
    ],
    [
      async (tx) => {
        await sql`DELETE FROM mutes`.execute(tx);
        await context.emit(tx, "account.unmuted", pair);
      },
      [both],
    ],
  );
  await change(
    "hide",
    [
      async (tx) => {
        await sql`INSERT INTO story_hides (owner_id, hidden_id) VALUES (${author}, ${viewer})`.execute(tx);
        await audienceChanged(tx);
      },
      [],
    ],
    [
      async (tx) => {
        await sql`DELETE FROM story_hides`.execute(tx);
        await audienceChanged(tx);
      },
      [both],
    ],
  );
  await sql`UPDATE stories SET audience = 'close_friends' WHERE id = ${second}`.execute(db);
  await change(
    "close friend",
    [
      async (tx) => {
        await sql`INSERT INTO close_friends (owner_id, friend_id) VALUES (${author}, ${viewer})`.execute(tx);
        await audienceChanged(tx);
      },
      [both],
    ],
    [
      async (tx) => {
        await sql`DELETE FROM close_friends`.execute(tx);
        await audienceChanged(tx);
      },
      [[author, true, 1]],
    ],
  );
  await sql`UPDATE stories SET audience = 'everyone' WHERE id = ${second}`.execute(db);
  await change(
    "unfollow",
    [(tx) => unfollow(tx, viewer, author), []],
    [
      async (tx) => {
        await tx.insertInto("follows").values({ follower_id: viewer, following_id: author }).execute();
        await context.emit(tx, "follow.started", { follower_id: viewer, following_id: author });
      },
      [both],
    ],
  );
  await change(
    "suspended",
    [
      async (tx) => {
        await sql`UPDATE users SET state = 'suspended' WHERE id = ${author}`.execute(tx);
        await context.emit(tx, "account.suspended", { user_id: author });
      },
      [],
    ],
    [
      async (tx) => {
        await sql`UPDATE users SET state = 'active' WHERE id = ${author}`.execute(tx);
        await context.emit(tx, "account.unsuspended", { user_id: author });
        await audienceChanged(tx);
      },
      [both],
    ],
  );

  await warm(viewer);
  await seeStory(context, viewer, story);
  t.strictSame(await trayOf(viewer), [both], "one is still unseen");
  await warm(viewer);
  await seeStory(context, viewer, second);
  t.strictSame(await trayOf(viewer), [[author, false, 2]], "one's own view");
  await warm(viewer);
  await publish(viewer);
  t.strictSame(
    await trayOf(viewer),
    [
      [viewer, false, 1],
      [author, false, 2],
    ],
    "one's own story",
  );
  await warm(viewer);
  await removeStory(context, author, second);
  t.strictSame(
    await trayOf(viewer),
    [
      [viewer, false, 1],
      [author, false, 1],
    ],
    "a deleted story",
  );
  await warm(viewer);
  await removeStory(context, author, story);
  t.strictSame(await trayOf(viewer), [[viewer, false, 1]], "the last of them");
  await follow(viewer, quiet);
  await warm(viewer);
  await publish(quiet);
  await waitFor(async () => (await trayOf(viewer)).length === 2, "a new story of somebody else to show");
  await warm(viewer);
  await between(viewer, quiet, async (tx) => {
    await unfollow(tx, viewer, quiet);
    await context.emit(tx, "account.blocked", { blocker_id: quiet, blocked_id: viewer });
  });
  t.strictSame(await trayOf(viewer), [[viewer, false, 1]], "a block");
});

t.test("who reads while a change is under way keeps nothing of before, also when Redis is emptied then", async (t) => {
  const author = await account();
  const viewer = await following(author);
  await publish(author);
  for (const emptied of [false, true]) {
    const story = await publish(author);
    await waitFor(async () => (await warm(viewer)).length === 1, "the story to show");
    const reads = async (wanted: unknown[]) => {
      if (emptied) await context.redis?.client().flushall();
      t.strictSame(await trayOf(viewer), wanted, "it is not committed yet");
      t.strictSame(await trayOf(viewer), wanted);
    };
    await inTransaction(db, async (tx) => {
      await sql`UPDATE stories SET status = 'removed', medium_id = NULL WHERE id = ${story}`.execute(tx);
      await lockAccounts(tx, [author]);
      await context.emit(tx, "story.removed", { story_id: story, author_id: author });
      await reads([[author, true, 2]]);
    });
    t.strictSame(await trayOf(viewer), [[author, true, 1]], "a deletion");
    await between(viewer, author, async (tx) => {
      await unfollow(tx, viewer, author);
      await reads([[author, true, 1]]);
    });
    t.strictSame(await trayOf(viewer), [], "an unfollow");
    await follow(viewer, author);
    t.strictSame(await trayOf(viewer), [[author, true, 1]]);
  }
});

t.test("two stories of one author are deleted one after the other", async (t) => {
  const author = await account();
  const viewer = await following(author);
  const stories = [await publish(author), await publish(author)];
  await warm(viewer);
  const removing = Promise.all(stories.map((story) => removeStory(context, author, story)));
  for (let reads = 0; reads < 20; reads++) await other.trays.of(viewer);
  await removing;
  t.strictSame(await trayOf(viewer), []);
});

t.test("a story is over by the database's clock, whatever this process' clock says", async (t) => {
  const author = await account();
  const viewer = await following(author);
  const [short] = [await publish(author), await publish(author)];
  await waitFor(async () => (await warm(viewer)).length === 1, "the stories to show");
  const { now } = Date;
  t.teardown(() => {
    Date.now = now;
  });
  for (const wrong of [-7_200_000, 7_200_000]) {
    await sql`UPDATE stories SET expires_at = clock_timestamp() + interval '400 milliseconds' WHERE id = ${short}`.execute(
      db,
    );
    const key = context.redis?.key("tray", viewer) ?? "";
    await context.redis?.client().del(key);
    Date.now = () => now() + wrong;
    t.strictSame(await trayOf(viewer), [[author, true, 2]]);
    const left = await context.redis?.client().pttl(key);
    t.ok(left !== undefined && left <= 400, `it is kept for no longer: ${left} ms`);
    Date.now = now;
    await waitFor(async () => (await trayOf(viewer))[0]?.[2] === 1, "it to be over");
  }
});

t.test("a Redis that hangs, or is gone, delays nothing that must show at once", async (t) => {
  const author = await account();
  const viewer = await following(author);
  const story = await publish(author);
  const again = async (wanted: unknown[]) => {
    for (const place of [one, other]) t.strictSame(await trayOf(viewer, place), wanted);
  };
  await waitFor(async () => (await warm(viewer)).length === 1, "the story to show");
  service.pause();
  await again([[author, true, 1]]);
  await removeStory(context, author, story);
  await again([]);
  service.resume();
  await again([]);
  await warm(viewer);
  await publish(author);
  await waitFor(async () => (await warm(viewer)).length === 1, "the story to show");
  await service.kill();
  await between(viewer, author, (tx) => unfollow(tx, viewer, author));
  await again([]);
  await service.restart();
  await again([]);
});

t.test("a server without Redis is heard by those who have one", async () => {
  const bare = await server(null);
  const author = await account();
  const viewer = await following(author);
  const story = await publish(author);
  await waitFor(async () => (await warm(viewer)).length === 1, "the story to show");
  await removeStory(bare.context, author, story);
  await waitFor(async () => (await trayOf(viewer)).length === 0, "the others to know");
});
