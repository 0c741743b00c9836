import { join } from "node:path";
import pg from "pg";
import t from "tap";
import { emptyTarget, folder, objectsOf, serve, tintype } from "../support/backup.ts";
import { exactly } from "../support/exactly.ts";
import { picture, truncated } from "../support/pictures.ts";
import { run, start, waitFor } from "../support/server.ts";
import { startService } from "../support/service.ts";
import { age, postStory, writeExpired } from "../support/stories-cleanup.ts";

const photo = await picture({ width: 60, height: 90 });
const { client, dataDir, databaseUrl, env, server } = await startService(t);
const sql = new pg.Pool({ connectionString: databaseUrl, max: 3 });
t.teardown(() => sql.end());
const ana = await client.register("ana");

const cleanup = async (...args: string[]) => {
  const { duration_ms, ...cleaned } = await tintype(["stories", "cleanup", ...args], env);
  t.type(duration_ms, "number");
  return cleaned;
};
const storyIds = async () => (await sql.query("SELECT id FROM stories ORDER BY id")).rows.map(({ id }) => id);
const nothing = { deleted_media: 0, deleted_records: 0, skipped: 0 };

t.test("what is due goes, with its pictures, and nothing else", async (t) => {
  const stories: { id: string; medium: string }[] = [];
  for (let n = 0; n < 4; n++) stories.push(await postStory(ana, photo));
  const failed = await postStory(ana, truncated(photo));
  const [gone, kept, young, shown] = stories;
  if (!gone || !kept || !young || !shown) throw new Error("four were posted");
  const left = [kept.id, young.id, shown.id].sort();
  await sql.query("UPDATE stories SET kept = true WHERE id = $1", [kept.id]);
  await age(sql, "25 hours 1 minute", [gone.id, kept.id, failed.id]);
  await age(sql, "24 hours 30 minutes", [young.id]);

  t.same(await cleanup("--dry-run"), { deleted_media: 2, deleted_records: 2, skipped: 0 });
  t.equal((await storyIds()).length, 5);
  t.same(await cleanup("--limit", "1"), { deleted_media: 1, deleted_records: 1, skipped: 0 });
  t.same(await cleanup(), { deleted_media: 1, deleted_records: 1, skipped: 0 });
  t.same(await storyIds(), left);
  for (const medium of [gone.medium, failed.medium]) {
    await waitFor(
      async () => !Object.keys(await objectsOf(dataDir)).some((key) => key.includes(medium)),
      "its objects to go",
    );
  }
  t.equal(Object.keys(await objectsOf(dataDir)).length, 3 * 5);
  t.equal((await tintype(["media", "verify", "--older-than", "0s", "--all-hashes"], env)).ok, true);

  t.same(await cleanup("--dry-run"), nothing);
  const { code, stdout, stderr } = await run(["stories", "cleanup", "--grace", "0"], env);
  t.same([code, stdout, stderr], [0, "Removed 1 story and 1 picture.\n", ""], "of its grace nothing is left");
  t.same(
    await storyIds(),
    left.filter((id) => id !== young.id),
  );
});

t.test("a backup has stories that are shown and kept, and not those that were removed", async (t) => {
  const removed = await postStory(ana, photo);
  t.equal((await ana.request("DELETE", `/stories/${removed.id}`)).status, 204);
  await waitFor(async () => !(await storyIds()).includes(removed.id), "its row to go");
  const file = join(await folder(t), "stories.tar");
  t.match(await tintype(["backup", file], env), { missing: exactly(), damaged: exactly(), objects: 2 * 5 });
  const target = await emptyTarget(t);
  await tintype(["restore", file], target.env);
  t.same(
    Object.keys(await objectsOf(target.dataDir)).filter((key) => key.includes(removed.medium)),
    [],
  );
  const restored = await serve(t, { ...target.env, TINTYPE_WORKER_EMBEDDED: "true" });
  const { body } = await restored.client.as(ana.token).request("GET", "/users/ana/stories");
  t.equal(body.items.length, 1, "the one that is not over");
  const { pathname, search } = new URL(body.items[0].media[0].large_url);
  t.equal((await restored.client.as(ana.token).request("GET", `${pathname}${search}`)).status, 200);
  t.match(await tintype(["media", "verify", "--older-than", "0s"], target.env), { ok: true, known: 2 * 5 });
});

t.test("the clock's own cleanup; stories that pile up are told", async (t) => {
  const ready = async () => (await server.client.request("GET", "/readyz")).body;
  const metric = async (name: string) =>
    Number(
      new RegExp(`^${name} (\\d+)$`, "m").exec((await server.client.request("GET", "/metrics")).bytes.toString())?.[1],
    );
  t.match(await ready(), { status: "ready", warnings: exactly() });
  await writeExpired(sql, ana, 3);
  await age(sql, "2 hours 1 minute");
  await waitFor(async () => (await ready()).warnings.length > 0, "a warning");
  t.match(await ready(), {
    status: "ready",
    warnings: exactly({
      code: "STORIES_OVERDUE",
      message: /^3 stories should have been cleaned up more than 2 hours ago/,
    }),
  });
  t.equal(await metric("tintype_stories_overdue"), 3);
  const { checks } = await tintype(["doctor"], env);
  t.match(
    checks.find(({ name }: { name: string }) => name === "stories"),
    { state: "warning", message: /^3 stories/ },
  );
  t.equal((await sql.query("SELECT FROM pgboss.schedule WHERE name = 'stories.cleanup'")).rowCount, 1);
  // As its schedule would.
  await sql.query("INSERT INTO pgboss.job (name, data) VALUES ('stories.cleanup', '{}')");
  await waitFor(async () => (await ready()).warnings.length === 0, "the warning to go");
  t.equal(await metric("tintype_stories_overdue"), 0);
  t.equal(await metric("instagram_stories_cleaned_up_total"), 3);
});

t.test("one that is told to stop says what it did", async (t) => {
  await writeExpired(sql, ana, 600);
  await age(sql, "1 minute");
  const holder = await sql.connect();
  await holder.query("BEGIN");
  // A view of the story that comes last, which the second batch has to wait for.
  await sql.query(
    "INSERT INTO story_views (story_id, viewer_id) SELECT id, $1 FROM stories WHERE NOT kept ORDER BY expires_at, id OFFSET 599 LIMIT 1",
    [ana.id],
  );
  await holder.query("SELECT FROM story_views FOR UPDATE");
  const stopped = start(["stories", "cleanup"], env);
  t.teardown(() => stopped.kill());
  await waitFor(async () => {
    const { rowCount } = await sql.query(
      "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'transactionid'",
    );
    return rowCount === 1;
  }, "the second batch");
  stopped.process.kill("SIGTERM");
  await holder.query("ROLLBACK");
  holder.release();
  t.equal(await stopped.exited, 1);
  t.match(stopped.output(), "Error: interrupted\n  Removed 600 stories and 600 pictures. What it was not done with");
});

t.test("wrong usage, and an outage", async (t) => {
  const wrong = await Promise.all([
    run(["stories", "cleanup", "--grace", "soon"], env),
    run(["stories", "cleanup", "--limit", "0"], env),
  ]);
  t.same(
    wrong.map(({ code }) => code),
    [2, 2],
  );
  const nowhere = { ...env, TINTYPE_DATABASE_URL: "postgres://nobody@127.0.0.1:1/none" };
  t.match(await tintype(["stories", "cleanup"], nowhere, 4), { error: { code: "DependencyError" } });
});
