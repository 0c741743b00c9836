import pg from "pg";
import t, { type Test } from "tap";
import { tintype } from "../support/backup.ts";
import { bucketContent, s3Environment } from "../support/bucket.ts";
import { testDatabase } from "../support/database.ts";
import { type Step, startKilling } from "../support/kills.ts";
import { picture } from "../support/pictures.ts";
import { run, start, startServer, temporaryFolder, waitFor } from "../support/server.ts";
import { startService } from "../support/service.ts";
import { s3Service } from "../support/services.ts";
import { age, postStory, writeExpired } from "../support/stories-cleanup.ts";

// Dozens of processes are started and killed.
t.setTimeout(1_200_000);

/** Each statement of a transaction, at the lock that it waits for. */
const CLEANUP: Step[] = [
  { at: "before the stories are taken", table: "stories" },
  { at: "between the look and the jobs", table: "pgboss.job_common", mode: "SHARE" },
  { at: "between the jobs and the mark", table: "stories", mode: "SHARE" },
  { at: "between the mark and the views", table: "story_views", mode: "SHARE" },
  { at: "between the views and the rows", table: "highlight_stories", mode: "SHARE" },
];
const REMOVAL: Step[] = [
  { at: "before the medium is marked", table: "media", mode: "SHARE" },
  { at: "between the mark and the objects", table: "backup_leases" },
  { at: "between the objects and the row", table: "renditions", mode: "SHARE" },
];

/** Views of each of these stories, by accounts that are not there. They lie in the order of their index, whichever way they are read. */
async function writeViews(sql: pg.Pool, ids: readonly string[], count: number): Promise<void> {
  const client = await sql.connect();
  try {
    await client.query("BEGIN; SET LOCAL session_replication_role = replica");
    await client.query(
      `INSERT INTO story_views (story_id, viewer_id)
       SELECT id, viewer_id FROM (
         SELECT id, gen_random_uuid() AS viewer_id FROM unnest($1::uuid[]) AS id, generate_series(1, $2)) AS views
       ORDER BY id, viewer_id`,
      [ids, count],
    );
    await client.query("UPDATE stories SET view_count = $2 WHERE id = ANY($1)", [ids, count]);
    await client.query("COMMIT");
  } finally {
    client.release();
  }
}

t.test("killed at each step", async (t) => {
  const { assertNothingLeft, client, env, keys, killAt, photo, sql, startWorker } = await startKilling(t);
  const ana = await client.register("ana");
  const worker = startWorker(t);
  const stays = await postStory(ana, photo);
  const kept = await postStory(ana, photo);
  const due = [await postStory(ana, photo), await postStory(ana, photo)];
  await worker.stop();
  await sql.query("UPDATE stories SET kept = true WHERE id = $1", [kept.id]);
  await age(sql, "26 hours", [kept.id, ...due.map(({ id }) => id)]);
  const before = (await keys()).length;
  // More than one transaction deletes.
  await writeViews(sql, [due[0]?.id ?? ""], 12_000);
  await writeViews(sql, [kept.id], 3);
  const startCleanup = (t: Test) => {
    const cleanup = start(["stories", "cleanup"], env);
    t.teardown(() => cleanup.kill());
    return cleanup;
  };

  for (const step of CLEANUP.slice(0, -1)) await killAt(t, step, startCleanup);
  t.match(
    (await sql.query("SELECT status FROM stories WHERE status = 'removed'")).rowCount,
    0,
    "none of it was committed",
  );
  // The view that its third transaction deletes is in somebody's hand: two have been committed by then.
  const hand = await sql.connect();
  await hand.query("BEGIN");
  await hand.query(
    `SELECT FROM story_views WHERE ctid = (SELECT max(ctid) FROM story_views WHERE story_id = $1) FOR UPDATE`,
    [due[0]?.id],
  );
  const between = startCleanup(t);
  await waitFor(
    async () =>
      (
        await sql.query(
          "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'transactionid'",
        )
      ).rowCount === 1,
    "the last views",
  );
  await between.kill();
  await hand.query("ROLLBACK");
  hand.release();
  t.match(
    (await sql.query("SELECT status, medium_id FROM stories WHERE id = $1", [due[0]?.id])).rows,
    [{ status: "removed", medium_id: null }],
    "killed between two transactions",
  );
  t.equal((await sql.query("SELECT FROM story_views WHERE story_id = $1", [due[0]?.id])).rowCount, 2_000);
  await killAt(t, CLEANUP.at(-1) ?? { at: "", table: "" }, startCleanup);
  t.match(await tintype(["stories", "cleanup"], env), { deleted_records: 1, skipped: 0 });
  t.equal((await keys()).length, before, "no object went yet");
  for (const step of REMOVAL) await killAt(t, step);
  await assertNothingLeft(t);
  t.equal((await keys()).length, before - 2 * 5);
  const { rows } = await sql.query("SELECT id FROM stories ORDER BY id");
  t.same(
    rows.map(({ id }) => id),
    [stays.id, kept.id].sort(),
  );
  t.equal((await sql.query("SELECT FROM story_views")).rowCount, 3, "who has seen the one that is kept");
});

t.test("several that are killed, and several that are not, share the work", async (t) => {
  const { client, databaseUrl, env } = await startService(t, { TINTYPE_WORKER_EMBEDDED: "false" });
  const sql = new pg.Pool({ connectionString: databaseUrl, max: 2 });
  t.teardown(() => sql.end());
  const ana = await client.register("ana");
  await writeExpired(sql, ana, 6_000);
  const { rows } = await sql.query("SELECT id FROM stories ORDER BY expires_at, id LIMIT 40");
  await writeViews(
    sql,
    rows.map(({ id }) => id),
    500,
  );
  await writeExpired(sql, ana, 500);
  await sql.query(
    "UPDATE stories SET expires_at = now() - interval '50 minutes' WHERE id IN (SELECT id FROM stories ORDER BY id DESC LIMIT 100)",
  );
  const young = 100;
  const due = 6_500 - young;
  const left = async () => Number((await sql.query("SELECT count(*) FROM stories")).rows[0].count);
  const victims = Array.from({ length: 3 }, () => start(["stories", "cleanup"], env));
  await waitFor(async () => (await left()) < 6_500, "the first batch");
  await Promise.all(victims.map((victim) => victim.kill()));
  const atKill = await left();
  t.comment(`${atKill} were left when three were killed`);
  const runs = await Promise.all(Array.from({ length: 3 }, () => tintype(["stories", "cleanup"], env)));
  const sum = runs.reduce((sum, { deleted_records }) => sum + deleted_records, 0);
  t.equal(sum, atKill - young);
  t.equal(await left(), young, "nothing early, nothing left");
  t.equal((await sql.query("SELECT FROM stories WHERE expires_at < now() - interval '1 hour'")).rowCount, 0);
  t.equal((await sql.query("SELECT FROM story_views")).rowCount, 0);
  const jobs =
    "SELECT count(*)::int, count(DISTINCT data->>'medium_id')::int AS media FROM pgboss.job WHERE name = 'media.remove'";
  t.match((await sql.query(jobs)).rows, [{ count: due, media: due }], "each picture once");
});

t.test("a story of 200,000 views goes in many transactions", async (t) => {
  const { client, databaseUrl, env } = await startService(t, { TINTYPE_WORKER_EMBEDDED: "false" });
  const sql = new pg.Pool({ connectionString: databaseUrl, max: 2 });
  t.teardown(() => sql.end());
  await writeExpired(sql, await client.register("ana"), 2);
  const { rows } = await sql.query("SELECT id FROM stories");
  await writeViews(
    sql,
    rows.map(({ id }) => id),
    200_000,
  );
  await age(sql, "1 minute");
  const { rows: before } = await sql.query(
    "SELECT xact_commit::int AS commits FROM pg_stat_database WHERE datname = current_database()",
  );
  t.match(await tintype(["stories", "cleanup"], env), { deleted_records: 2, deleted_media: 2, skipped: 0 });
  t.equal((await sql.query("SELECT FROM story_views LIMIT 1")).rowCount, 0);
  const after = await waitFor(async () => {
    const { rows } = await sql.query(
      "SELECT xact_commit::int AS commits FROM pg_stat_database WHERE datname = current_database()",
    );
    return rows[0].commits >= before[0].commits + 80 && rows[0].commits;
  }, "80 transactions of 5,000 views");
  t.comment(`${after - before[0].commits} transactions, others included`);
});

t.test("the media store is down meanwhile", async (t) => {
  const service = await s3Service(t, { own: true });
  if (!service) return;
  const { url } = await testDatabase(t);
  const sql = new pg.Pool({ connectionString: url, max: 2 });
  t.teardown(() => sql.end());
  const env = {
    TINTYPE_DATABASE_URL: url,
    TINTYPE_DATA_DIR: await temporaryFolder(t),
    TINTYPE_WORKER_EMBEDDED: "true",
    ...s3Environment(service),
  };
  t.equal((await run(["migrate"], env)).code, 0);
  const server = await startServer(env);
  t.teardown(() => server.stop());
  const ana = await server.client.register("ana");
  const photo = await picture({ width: 60, height: 90 });
  const stays = await postStory(ana, photo);
  const due = [await postStory(ana, photo), await postStory(ana, photo), await postStory(ana, photo)];
  await age(
    sql,
    "26 hours",
    due.map(({ id }) => id),
  );
  const objects = Object.entries(await bucketContent(service));
  const ofOthers = objects.filter(([key]) => !due.some(({ medium }) => key.includes(medium)));
  t.same([objects.length, ofOthers.length], [20, 5]);

  await service.kill();
  t.match(await tintype(["stories", "cleanup"], env), { deleted_records: 3, deleted_media: 3, skipped: 0 });
  t.match((await sql.query("SELECT id FROM stories")).rows, [{ id: stays.id }]);
  const waiting = () => sql.query("SELECT FROM pgboss.job WHERE name = 'media.remove' AND state < 'completed'");
  await waitFor(
    async () =>
      (
        await sql.query(
          "SELECT FROM pgboss.job WHERE name = 'media.remove' AND state = 'created' AND start_after > now()",
        )
      ).rowCount === 3,
    "the removals to be put back",
  );
  await service.restart();
  await waitFor(async () => (await waiting()).rowCount === 0, "the removals");
  t.strictSame(Object.entries(await bucketContent(service)), ofOthers);
  t.equal((await tintype(["media", "verify", "--older-than", "0s", "--all-hashes"], env)).ok, true);
  t.equal((await tintype(["jobs", "list", "--failed"], env)).jobs.length, 0);
});
