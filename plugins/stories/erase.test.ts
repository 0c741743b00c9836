import { sql } from "kysely";
import t from "tap";
import { v7 as newId } from "uuid";
import type { Emit } from "../../src/events.ts";
import { testDatabase } from "../../test/support/database.ts";
import { openDb } from "../../test/support/product/database.ts";
import { eraseStories } from "./erase.ts";

const { url } = await testDatabase(t);
const db = openDb(t, url);
const [ana, bert] = [newId(), newId()];

/** Of ana 250 stories in each state, one seen by 12,000; and of bert 1,200, all seen by ana and some others. */
await sql`
  INSERT INTO users (id, username, email, password_hash)
  SELECT id, username, username || '@example.org', '' FROM (VALUES (${ana}::uuid, 'ana'), (${bert}::uuid, 'bert')) AS u (id, username)
  UNION ALL SELECT gen_random_uuid(), 'fan' || n, n || '@example.org', '' FROM generate_series(1, 12000) AS n`.execute(
  db,
);
for (const [owner, count] of [
  [ana, 250],
  [bert, 1_200],
] as const) {
  await sql`
    WITH media AS (
      INSERT INTO media (id, owner_id, purpose, state, content_type, bytes, sha256)
      SELECT gen_random_uuid(), ${owner}::uuid, 'story', 'processing', 'image/jpeg', 1, '' FROM generate_series(1, ${count})
      RETURNING id)
    INSERT INTO stories (id, user_id, medium_id, audience, status, published_at, expires_at, kept)
    SELECT gen_random_uuid(), ${owner}::uuid, CASE WHEN n % 4 > 0 THEN id END, 'everyone', status,
      CASE status WHEN 'published' THEN now() END, CASE status WHEN 'published' THEN now() END, n % 4 = 1
    FROM (SELECT id, n, (ARRAY['removed', 'published', 'published', 'processing'])[n % 4 + 1] AS status
      FROM (SELECT id, row_number() OVER () AS n FROM media) AS numbered) AS media`.execute(db);
}
await sql`
  INSERT INTO story_views (story_id, viewer_id)
  SELECT stories.id, users.id FROM stories JOIN users ON stories.user_id = ${bert}::uuid AND username IN ('ana', 'fan1', 'fan2')
  UNION ALL
  SELECT (SELECT id FROM stories WHERE user_id = ${ana}::uuid AND status = 'published' ORDER BY id LIMIT 1), id
  FROM users WHERE username LIKE 'fan%'`.execute(db);
await sql`
  UPDATE stories SET view_count = (SELECT count(*) FROM story_views WHERE story_id = stories.id)`.execute(db);
await sql`
  WITH made AS (
    INSERT INTO highlights (id, user_id, title)
    SELECT gen_random_uuid(), users.id, 'x' FROM users, generate_series(1, 25) WHERE username IN ('ana', 'bert')
    RETURNING id, user_id)
  INSERT INTO highlight_stories (highlight_id, story_id)
  SELECT made.id, stories.id FROM made JOIN stories ON stories.user_id = made.user_id AND kept`.execute(db);
await sql`INSERT INTO story_settings VALUES (${ana}, true), (${bert}, true)`.execute(db);

/** What is left of ana, by table; what of bert; and stories whose count is not that of their rows. */
async function look() {
  const { rows } = await sql<{ stories: number; views: number; left: number; others: number[]; wrong: number }>`
    SELECT
      (SELECT count(*)::int FROM stories WHERE user_id = ${ana}::uuid) AS stories,
      (SELECT count(*)::int FROM story_views WHERE viewer_id = ${ana}::uuid) AS views,
      (SELECT count(*) FROM highlights WHERE user_id = ${ana}::uuid)::int
        + (SELECT count(*) FROM story_settings WHERE user_id = ${ana}::uuid)::int
        + (SELECT count(*) FROM story_views WHERE story_id NOT IN (SELECT id FROM stories WHERE user_id = ${bert}::uuid))::int
        AS left,
      ARRAY[(SELECT count(*) FROM stories WHERE user_id = ${bert}::uuid)::int,
        (SELECT count(*) FROM story_views WHERE viewer_id <> ${ana}::uuid AND story_id IN (
          SELECT id FROM stories WHERE user_id = ${bert}::uuid))::int,
        (SELECT count(*) FROM highlights WHERE user_id = ${bert}::uuid)::int,
        (SELECT count(*) FROM highlight_stories JOIN stories ON id = story_id WHERE user_id = ${bert}::uuid)::int] AS others,
      (SELECT count(*)::int FROM stories WHERE status <> 'removed' AND view_count <> (
        SELECT count(*) FROM story_views WHERE story_id = stories.id)) AS wrong`.execute(db);
  const [found] = rows;
  if (!found) throw new Error("one row is expected");
  return found;
}

t.test("killed again and again, nothing of the account is left, of others everything", async (t) => {
  const before = await look();
  t.match(before, { stories: 250, views: 1_200, wrong: 0 });
  await sql`CREATE TABLE told AS SELECT id::text FROM stories WHERE false`.execute(db);
  const { rows: published } = await sql`
    SELECT id FROM stories WHERE user_id = ${ana}::uuid AND status = 'published'`.execute(db);
  let kills = 0;
  const places = new Set<string>();
  for (let done = false; !done; ) {
    let statements = 0;
    // Each number of them once: some are too few for any transaction, some enough for several.
    const enough = 1 + ((7 * kills) % 13);
    const killed = new Error("killed");
    const mortal = db.withPlugin({
      transformQuery: ({ node }) => {
        if (++statements > enough) throw killed;
        return node;
      },
      transformResult: async ({ result }) => result,
    });
    const emit = (async (tx, name, event) => {
      t.equal(name, "story.removed");
      const { rows: free } = await sql`SELECT FROM users WHERE id = ${ana}::uuid FOR UPDATE SKIP LOCKED`.execute(db);
      t.equal(free.length, 0, "the author's account is held");
      await sql`INSERT INTO told VALUES (${"story_id" in event ? event.story_id : name})`.execute(tx.withoutPlugins());
    }) satisfies Emit;
    try {
      await eraseStories({ db: mortal, emit }, ana, new AbortController().signal);
      done = true;
    } catch (error) {
      if (error !== killed) throw error;
      kills++;
    }
    const now = await look();
    t.equal(now.wrong, 0);
    t.strictSame(now.others, before.others);
    places.add(`${now.stories} ${now.views}`);
  }
  t.ok(places.size > 6, `killed ${kills} times, with ${[...places].join(", ")} stories and views left`);
  t.match(await look(), { stories: 0, views: 0, left: 0 });
  const { rows: told } = await sql`SELECT id FROM told`.execute(db);
  t.equal(told.length, published.length, "each published one was told of once");
});
