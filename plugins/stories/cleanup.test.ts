import pg from "pg";
import t from "tap";
import { v4 as newId } from "uuid";
import { inTransaction } from "../../src/db/transaction.ts";
import { brake } from "../../test/support/backup.ts";
import { testDatabase } from "../../test/support/database.ts";
import { exactly } from "../../test/support/exactly.ts";
import { openContext } from "../../test/support/product/context.ts";
import { uploadStory } from "../../test/support/product/stories.ts";
import { waitFor } from "../../test/support/server.ts";
import { age, writeExpired } from "../../test/support/stories-cleanup.ts";
import { cleanUp, finishRemoval, rehearseCleanup } from "./cleanup.ts";
import { settleStory } from "./stories.ts";

const { url } = await testDatabase(t);
const sql = new pg.Pool({ connectionString: url, max: 2 });
t.teardown(() => sql.end());
const context = await openContext(t, url, null);
const ana = { id: newId() };
await sql.query(
  "INSERT INTO users (id, username, display_name, email, password_hash) VALUES ($1, 'ana', '', 'a@example.org', '')",
  [ana.id],
);

const { signal } = new AbortController();
const grace = 3_000_000;
const published = async () => (await sql.query("SELECT FROM stories WHERE status = 'published'")).rowCount;

t.test("several at once share the work, and pass by what somebody has in hand", async (t) => {
  const many = 2_600;
  await writeExpired(sql, ana, many);
  const client = await sql.connect();
  await client.query("BEGIN");
  await client.query("SELECT FROM stories ORDER BY expires_at, id LIMIT 3 FOR UPDATE");
  const some = await cleanUp(context, { grace, limit: 600, signal });
  t.same(some, { deleted_media: 600, deleted_records: 600, skipped: 3 });
  // Each gets its first batch in hand, and none goes further before all have.
  const views = await brake(t, url, "story_views", "SHARE");
  const cleaning = Array.from({ length: 3 }, () => cleanUp(context, { grace, signal }));
  await waitFor(() => views.waiting(3), "three of them");
  await views.release();
  const all = await Promise.all(cleaning);
  await client.query("ROLLBACK");
  client.release();
  t.same(await rehearseCleanup(context, { grace, signal }), { deleted_media: 3, deleted_records: 3, skipped: 0 });
  t.same(await cleanUp(context, { grace, signal }), { deleted_media: 3, deleted_records: 3, skipped: 0 });
  for (const { deleted_records } of all) t.ok(deleted_records >= 497, `one had ${deleted_records}`);
  for (const name of ["deleted_records", "deleted_media"] as const) {
    t.equal(
      all.reduce((sum, cleanup) => sum + cleanup[name], 603),
      many,
    );
  }
  const { rows } = await sql.query(
    "SELECT count(*)::int, count(DISTINCT data->>'medium_id')::int AS media FROM pgboss.job WHERE name = 'media.remove'",
  );
  t.match(rows, exactly({ count: many, media: many }), "each picture once");
});

t.test("one that is kept at the same moment stays", async (t) => {
  await writeExpired(sql, ana, 1);
  const client = await sql.connect();
  await client.query("BEGIN; UPDATE stories SET kept = true");
  t.match(await cleanUp(context, { grace, signal }), { deleted_records: 0, skipped: 1 }, "in somebody's hand");
  await client.query("COMMIT");
  client.release();
  t.match(await cleanUp(context, { grace, signal }), { deleted_records: 0, skipped: 0 }, "and kept");
  await sql.query("UPDATE stories SET kept = false");
  t.match(await cleanUp(context, { grace: grace * 2, signal }), { deleted_records: 0 }, "in its grace");
  t.match(await cleanUp(context, { grace, signal }), { deleted_records: 1 });
});

t.test("one that is told to stop ends after its batch", async (t) => {
  await writeExpired(sql, ana, 1_200);
  const stop = new AbortController();
  const stopped = cleanUp(context, {
    grace,
    signal: stop.signal,
    onProgress: () => stop.abort(new Error("interrupted")),
  });
  await t.rejects(stopped, { message: "interrupted" });
  t.equal(await published(), 700);
  t.match(await cleanUp(context, { grace, signal }), { deleted_records: 700, deleted_media: 700, skipped: 0 });
});

t.test("views go in parts, also those of what another left", async (t) => {
  await writeExpired(sql, ana, 2);
  await sql.query(`
    INSERT INTO users (id, username, display_name, email, password_hash)
    SELECT gen_random_uuid(), 'viewer' || n, '', 'viewer' || n || '@example.org', '' FROM generate_series(1, 6000) AS n`);
  await sql.query("INSERT INTO story_views (story_id, viewer_id) SELECT stories.id, users.id FROM stories, users");
  const stop = new AbortController();
  let told = 0;
  const stopped = cleanUp(context, {
    grace,
    signal: stop.signal,
    onProgress: () => {
      told += 1;
      if (told === 2) stop.abort(new Error("interrupted"));
    },
  });
  await t.rejects(stopped, { message: "interrupted" });
  t.equal((await sql.query("SELECT FROM story_views")).rowCount, 2 * 6_001 - 2 * 5_000);
  t.equal(await published(), 0, "there for nobody");
  const { deleted_records, deleted_media } = await cleanUp(context, { grace, signal });
  t.ok(deleted_records > 0 && deleted_media === 0, "their pictures' removal was enqueued before");
  t.equal((await sql.query("SELECT FROM stories")).rowCount, 0);
  t.equal((await sql.query("SELECT FROM story_views")).rowCount, 0);
});

t.test("a view that gets a reaction meanwhile goes too, and the story with it", async (t) => {
  await writeExpired(sql, ana, 1);
  const { rows } = await sql.query("UPDATE stories SET status = 'removed', medium_id = NULL RETURNING id");
  await sql.query("INSERT INTO story_views (story_id, viewer_id) SELECT stories.id, users.id FROM stories, users");
  await sql.query("DELETE FROM story_views WHERE viewer_id NOT IN (SELECT viewer_id FROM story_views LIMIT 10)");
  const client = await sql.connect();
  await client.query("BEGIN");
  await client.query(
    "UPDATE story_views SET reaction = '❤️' WHERE viewer_id = (SELECT max(viewer_id::text)::uuid FROM story_views)",
  );
  const removal = finishRemoval(context, [rows[0].id], { signal });
  await waitFor(async () => {
    const { rowCount } = await sql.query(
      "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'transactionid'",
    );
    return rowCount === 1;
  }, "the removal to wait");
  await client.query("COMMIT");
  client.release();
  await removal;
  t.equal((await sql.query("SELECT FROM story_views")).rowCount, 0);
  t.equal((await sql.query("SELECT FROM stories")).rowCount, 0);
});

t.test("one that failed is there as long as a story is shown, from its failure on", async (t) => {
  const { id, medium } = await uploadStory(context.db, ana.id, "everyone");
  await age(sql, "3 days");
  const failure = { code: "PICTURE_UNREADABLE", message: "The picture is damaged." };
  await inTransaction(context.db, (tx) => settleStory(tx, context, medium, failure));
  t.match(await cleanUp(context, { grace, signal }), { deleted_records: 0 }, "its author reads why");
  await age(sql, "25 hours", [id]);
  t.match(await cleanUp(context, { grace, signal }), { deleted_records: 1, deleted_media: 1 });
});
