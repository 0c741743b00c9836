import { sql } from "kysely";
import pg from "pg";
import t from "tap";
import { testDatabase } from "../../test/support/database.ts";
import { openContext } from "../../test/support/product/context.ts";
import { newAccount, publishStory, startFollow, uploadStory } from "../../test/support/product/stories.ts";
import { writeExpired } from "../../test/support/stories-cleanup.ts";
import { MOST_AUTHORS, MOST_COUNTED, readTray, type TrayEntry } from "./tray-store.ts";

const { url } = await testDatabase(t);
const pool = new pg.Pool({ connectionString: url, max: 1 });
t.teardown(() => pool.end());
const context = await openContext(t, url, null);
const { db } = context;

const account = (fields?: { is_private: boolean }) => newAccount(db, fields);
const publish = (author: string, audience?: string) => publishStory(context, author, audience);

async function following(...authors: string[]): Promise<string> {
  const viewer = await account();
  for (const author of authors) await startFollow(context, viewer, author);
  return viewer;
}

/** Moves the time of a story, by which it may also be over. @param age seconds. */
async function ageBy(story: string, age: number): Promise<void> {
  await sql`UPDATE stories SET published_at = published_at - ${age} * interval '1 second',
    expires_at = expires_at - ${age} * interval '1 second' WHERE id = ${story}`.execute(db);
}

const told = (entries: readonly TrayEntry[]) =>
  entries.map(({ user, has_unseen, count }) => [user.id, has_unseen, count]);

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

t.test("of an author with more stories than are counted, what the tray says is so of all", async (t) => {
  const author = await account();
  const viewer = await following(author);
  await writeExpired(pool, { id: author }, MOST_COUNTED + 50);
  // A minute apart; the first is over in 5 minutes, the next in an hour.
  const { rows } = await pool.query<{ id: string; published_at: Date }>(
    `UPDATE stories SET published_at = now() - interval '1 day' + n * interval '1 minute',
       expires_at = now() + CASE n WHEN 1 THEN interval '5 minutes' ELSE interval '1 hour' + n * interval '1 minute' END
     FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM stories WHERE user_id = $1) AS numbered
     WHERE numbered.id = stories.id RETURNING stories.id, published_at`,
    [author],
  );
  rows.sort((one, other) => one.published_at.getTime() - other.published_at.getTime());
  const oldest = rows[0]?.id;
  const see = (ids: (string | undefined)[]) =>
    pool.query("INSERT INTO story_views (story_id, viewer_id) SELECT id, $2 FROM unnest($1::uuid[]) AS id", [
      ids,
      viewer,
    ]);
  const tray = async () => {
    const { entries, over_in } = await readTray(db, viewer);
    t.equal(Date.parse(entries[0]?.latest_story_at ?? ""), rows.at(-1)?.published_at.getTime(), "the latest of all");
    t.equal(entries[0]?.count, MOST_COUNTED);
    return { unseen: entries[0]?.has_unseen, minutes: Math.ceil((over_in ?? 0) / 60_000) };
  };
  t.strictSame(await tray(), { unseen: true, minutes: 5 });
  await see(rows.slice(1).map(({ id }) => id));
  t.strictSame(await tray(), { unseen: true, minutes: 5 }, "the oldest of all is not seen");
  await pool.query("UPDATE stories SET audience = 'close_friends' WHERE id = $1", [oldest]);
  t.strictSame(await tray(), { unseen: false, minutes: 62 }, "it is not for the viewer");
  await pool.query("UPDATE stories SET audience = 'everyone' WHERE id = $1", [oldest]);
  await see([oldest]);
  t.strictSame(await tray(), { unseen: false, minutes: 5 }, "all are seen");
});
