import pg from "pg";
import t from "tap";
import { v4 as newId } from "uuid";
import { testDatabase } from "../../test/support/database.ts";
import { exactly } from "../../test/support/exactly.ts";
import { openContext } from "../../test/support/product/context.ts";
import { writeExpired } from "../../test/support/stories-cleanup.ts";
import { cleanUp, rehearseCleanup } from "./cleanup.ts";

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
  const all = await Promise.all(Array.from({ length: 3 }, () => cleanUp(context, { grace, signal })));
  await client.query("ROLLBACK");
  client.release();
  t.same(await rehearseCleanup(context, { grace, signal }), { deleted_media: 3, deleted_records: 3, skipped: 0 });
  t.same(await cleanUp(context, { grace, signal }), { deleted_media: 3, deleted_records: 3, skipped: 0 });
  t.equal(
    all.reduce((sum, { deleted_records }) => sum + deleted_records, 603),
    many,
  );
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
